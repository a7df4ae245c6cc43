"""What to call a product whose master knows only shortened, cut-off shelf labels."""

import re
from functools import cache

_WORDS = {
    "acc": "accessories", "access.": "accessories", "accss": "accessories", "appl": "appliances",
    "beerale": "beer and ale", "bev": "beverage", "brd": "breaded", "bth": "bath", "btl": "bottle",
    "btr": "batter", "carb": "carbonated", "catfd": "cat food", "chix": "chicken", "choc": "chocolate",
    "chococlate": "chocolate", "chp": "chops", "cke": "cake", "ckys": "cookies", "clot": "cloths",
    "cnd": "canned", "cndles": "candles", "cndy": "candy", "cntrl": "control", "coff": "coffee",
    "conc": "concentrate", "crbntd": "carbonated", "crkr": "crackers", "crmd": "creamed", "dan": "danish",
    "decaf": "decaffeinated", "decaffinated": "decaffeinated", "deod": "deodorant", "dl": "deli",
    "dnrs": "dinners", "dogfd": "dog food", "dps": "dips", "drnk": "drink", "drnking": "drinking",
    "drnkng": "drinking", "drnks": "drinks", "drp": "drops", "elstc": "elastic", "fd": "food", "fds": "food",
    "fem": "feminine", "fem.": "feminine", "flv": "flavored", "flvr": "flavored", "flvrd": "flavored",
    "fm": "licensed", "frd": "fried", "fre": "fresh", "frz": "frozen", "frzn": "frozen", "fs": "french style",
    "gds": "goods", "grnd": "ground", "handke": "handkerchiefs", "hbc": "personal care", "hygn": "hygiene",
    "hygn.": "hygiene", "hygn.napkins": "hygiene napkins", "ingred": "ingredients", "iqf": "frozen singly",
    "iws": "wrapped", "jce": "juice", "jhook": "small", "jui": "juice", "juic": "juice", "ladies": "ladies'",
    "linaments": "liniments", "liq": "liquid", "liqs": "liquids", "lnchmt": "lunchmeat", "lozng": "lozenges",
    "lrg": "large", "lss": "less", "ltr": "lighter", "mach": "machine", "mens": "men's", "misc": "assorted",
    "misc.": "assorted", "miscellaneous": "assorted", "mlk": "milk", "mlt": "multi", "mneral": "mineral",
    "mnr": "mineral", "mnrl": "mineral", "mult": "multi", "must": "mustard", "mxs": "mixes", "n": "non",
    "ntrtnl": "nutritional", "nut supp": "supplement", "oth": "other", "pac": "pack", "picantee": "picante",
    "pickld": "pickled", "pk": "pack", "pkg": "packaged", "pkgd": "packaged", "plstc": "plastic",
    "pnch": "punch", "pnut": "peanut", "porton": "portion", "ppk": "prepacked", "prem": "premium",
    "prep": "prepared", "preportnd": "preportioned", "presc": "prescription", "preslcd": "sliced",
    "prpck": "prepacked", "prslc": "sliced", "ptty": "patties", "pwdr": "powder", "pwdrs": "powders",
    "qsr": "quick service", "rbr": "rubber", "refrig": "refrigerated", "reg": "regular", "retl": "retail",
    "ric": "rice", "rtd": "ready to drink", "rts": "ready to serve", "rw": "by weight", "sal": "salads",
    "saus": "sausage", "sect": "sections", "sft": "soft", "sgl": "single", "sherbts": "sherbets",
    "shlfsh": "shellfish", "slc": "slices", "sld": "salad", "sngl": "single", "snks": "snacks",
    "spec": "specialties", "specilaty": "specialty", "spt": "sport", "srv": "serving", "ss": "single serving",
    "stk": "steaks", "strp": "strips", "stw": "stew", "subs": "substitutes", "sup": "super",
    "supp": "supplement", "sv": "service", "sw": "sweet", "swe": "sweetener", "sweetners": "sweeteners",
    "swt": "sweet", "syrp": "syrup", "thn": "than", "tort": "tortilla", "vac": "vacuum", "veg": "vegetable",
    "vend": "vending", "wat": "water", "wate": "water", "wh": "whole", "whl": "whole", "womens": "women's",
    "worchester": "worcester", "wra": "wraps", "wtr": "water", "xpctrnt": "expectorant", "yng": "young",
}  # fmt: skip
_KNOWN = {
    "BAGGED CHEESE SNACKS": "Cheese snacks",
    "BEERALEMALT LIQUORS": "Beer, ale or malt liquor",
    "BABY FOOD JUNIOR ALL BRANDS": "Baby food, junior",
    "CANDY BARS (SINGLES)(INCLUDING": "Candy bar",
    "CANDY BARS (MULTI PACK)": "Candy bars, multi-pack",
    "DAIRY CASE 100% PURE JUICE - O": "Pure orange juice",
    "DAIRY CASE 100% PURE JUICE OTH": "Pure juice",
    "DAIRY CASE JUICE DRNK UNDER 10": "Juice drink",
    "DAIRY CASE TEA WITH SUGAR OR S": "Sweetened tea",
    "FLUID MILK WHITE ONLY": "Milk",
    "FRZN MULTI SERVE ENTREES ALL": "Frozen entree for several",
    "FRZN SS PREMIUM ENTREES/DNRS/N": "Frozen premium entree",
    "FRZN SS PREMIUM ENTREES/DNRS/T": "Frozen premium dinner",
    "GARBAGE KITCHEN COMPACTOR BA": "Garbage bags",
    "MAINSTREAM WHEAT/MULTIGRAIN BR": "Wheat or multigrain bread",
    "MAINSTREAM WHITE BREAD": "White bread",
    "MEXICAN SAUCESSALSAPICANTEE": "Mexican sauce or salsa",
    "NATURAL CHEESE EXACT WT CHUNKS": "Cheese, chunk",
    "NATURAL CHEESE EXACT WT SLICES": "Cheese, sliced",
    "PLSTC CTLRYTBLCLTHSTTHPKSST": "Plastic cutlery and table goods",
    "RTS SOUP: CHUNKY/HOMESTYLE ET": "Soup, ready to serve",
    "SEMI-SOLID SALAD DRESSING MAY": "Mayonnaise or salad dressing",
    "SFT DRNK 2 LITER BTL CARB INCL": "Soft drink, bottle",
    "SFT DRNK MLT-PK BTL CARB (EXCP": "Soft drink, bottles",
    "SFT DRNK SNGL SRV BTL CARB (EX": "Soft drink, single bottle",
    "SGL SV/VEND MACH SNACKS CHIP/P": "Single-serving snack",
    "SOFT DRINKS 12/18&15PK CAN CAR": "Soft drink, cans",
    "SOFT DRINKS 20PK&24PK CAN CARB": "Soft drink, large pack of cans",
    "SS ECONOMY ENTREES/DINNERS ALL": "Frozen economy entree",
    "WOMEN S GENERAL-MAGAZINE": "Women's magazine",
    "YOGURT NOT MULTI-PACKS": "Yogurt",
}
_NAMES = {
    "almay", "american", "asian", "australian", "barbie", "bbq", "british", "canadian", "caribbean", "cd",
    "christmas", "covergirl", "dvd", "dxm", "easter", "english", "french", "german", "greek", "halloween",
    "hispanic", "indian", "italian", "japanese", "kosher", "loreal", "maybelline", "mediterranean", "mexican",
    "nz", "oriental", "polish", "pse", "revlon", "spanish", "spf", "thai", "tv", "usa", "valentine", "vhs",
}  # fmt: skip
_CAPITALS = {"bbq", "dvd", "tv", "dxm", "pse", "nz", "usa", "cd", "vhs", "spf"}
_ALONE = {
    "activity", "adult premium", "all underwear", "assorted", "basic openstock", "better for you", "blends",
    "boxed", "brisket", "bulk", "bulk candy", "butts", "cans soup/chili", "cones", "cooked", "cups", "decor",
    "drums", "dry", "economy", "enhanced", "enhanced flower display", "entrees", "everyday medium",
    "everyday small", "external", "external fresh", "fillers", "fresh", "garden plus", "grinds",
    "in store made", "internal", "internal fresh", "kids", "kits", "lean", "loin", "mainstream", "marinated",
    "meat included", "microwave", "mini 2-5 stems", "mixes", "natural", "novelties", "offals", "other",
    "oven", "packaged mix", "pails", "pantry", "patties", "premium", "premium pints", "primal",
    "processed other", "promo", "promotional", "quarts", "red", "regular garden", "rib", "ribs", "seasonal",
    "skirt", "smoked/cooked", "smoked/cooked - beef", "soup/stew", "specialty", "sticks/enrobed",
    "super premium pints", "thighs", "thin meats", "traditional", "treats", "value", "variety pack", "wings",
}  # fmt: skip
_UNITS = r"oz|ct|lb|ml|l|in|pk|qt|gal|ga|sq ft|pt|stem|pc|loads?|ft|fl oz|dz|doz|yd|g|gm"
_NUMBER = r"\d{1,4}(?:\.\d+)?|\.\d+|(?:\d{1,2} )?\d{1,2}/\d{1,2}(?:\.\d+)?"
_SIZE = re.compile(rf"(?:^|\d{{5,}} |[^\d/. ] )({_NUMBER}) ?({_UNITS})$")
_CUT = 30
"""Labels of this length were cut off."""
_SPELLED = {"ga": "gal", "doz": "dozen", "dz": "dozen", "gm": "g", "stem": "stems", "l": "L"}


def title(kind: str | None, category: str | None, size: str | None) -> str:
    """Give a readable name from a product type, its category where the type alone says little, and a size.

    Examples:
        >>> title("APPLE SAUCE", "FRUIT - SHELF STABLE", "50 OZ")
        'Apple sauce, 50 oz'
        >>> title("SFT DRNK 2 LITER BTL CARB INCL", "SOFT DRINKS", "2 L BTL")
        'Soft drink, bottle'
        >>> title("FRZN BAGGED VEGETABLES- VALUE", "FRZN VEGETABLE/VEG DSH", "10 OZ")
        'Frozen bagged vegetables - value, 10 oz'
        >>> title("PREMIUM", "ICE CREAM/MILK/SHERBTS", "789545 56 OZ")
        'Ice cream/milk/sherbets: premium, 56 oz'
        >>> title(None, None, None)
        'Unnamed product'
    """
    name = _KNOWN.get(kind or "") or _tidy(kind or category or "")
    if kind and category and name.lower() in _ALONE:
        name = f"{_tidy(category)}: {name[0].lower()}{name[1:]}"
    return ", ".join(part for part in (name or "Unnamed product", _tidy_size(size or "")) if part)


@cache
def _tidy(label: str) -> str:
    """Expand the shortened words of a label, drop what was cut off, and write it as a sentence."""
    if len(label) >= _CUT and "(" not in label:
        label = re.sub(r"[^a-z][a-z]{1,2}$", "", label.lower())
    label = re.sub(r"\(.*", "", label.lower())
    label = re.sub(r"\bw/o\b ?", "without ", label)
    label = re.sub(r"\bw/", "with ", label)
    label = re.sub(r"\bn/", "non-", label)
    label = re.sub(r"-magazine$", " magazine", label)
    label = re.sub(r" ?& ?", " & ", re.sub(r":(?=\S)", ": ", label))
    label = re.sub(r"(?<=\w)- | -(?=\w)", " - ", label)
    words = re.sub(r"[a-z][a-z.']*", lambda found: _word(found.group()), label)
    words = re.sub(r"\s+", " ", words)
    words = re.sub(r"( (?:including|incl|with|without|and|no|or|etc?|of|all)|[\s,&:/-])+$", "", words).strip(" -:/&,")
    return words[:1].upper() + words[1:]


def _word(word: str) -> str:
    if word in _CAPITALS:
        return word.upper()
    return word.capitalize() if word in _NAMES else _WORDS.get(word, word)


def _tidy_size(size: str) -> str:
    """Give count and unit at the end of a size, without the product codes some sizes begin with."""
    found = _SIZE.search(" ".join(size.lower().split()))
    if not found:
        return ""
    number = f"0{found[1]}" if found[1].startswith(".") else found[1]
    return f"{number} {_SPELLED.get(found[2], found[2])}"
