"""The words of the invented shop: departments, categories and types, brands, badges and gestures."""

SHELVES = """
Bakery | Bread | 5 | 3.2 | Rye loaf; Baguette; Flatbread; Brioche
Bakery | Pastries | 10 | 2.4 | Croissants; Kanelbullar; Pastéis de nata; Doughnuts
Bakery | Biscuits | 21 | 2.8 | Shortbread; Oat biscuits; Speculoos; Crackers
Dairy | Milk & cream | 6 | 1.6 | Whole milk; Oat drink; Crème fraîche; Buttermilk
Dairy | Cheese | 12 | 4.9 | Gruyère; Halloumi; Cream cheese; Käse am Stück
Dairy | Yoghurt & eggs | 8 | 2.7 | Plain yoghurt; Skyr; Free-range eggs; Kefir
Produce | Fruit | 6 | 2.9 | Apples; Clementines; Açaí; Frozen berries
Produce | Vegetables | 6 | 2.2 | Carrots; Jalapeños; Salad greens; Mushrooms
Produce | Herbs & flowers | 14 | 3.5 | Basil pot; Cut tulips; Coriander; Potted fern
Pantry | Pasta & rice | 25 | 2.1 | Spaghetti; Basmati rice; Couscous; Udon 饂飩
Pantry | Cereals | 21 | 3.9 | Porridge oats; Müsli; Granola; Slimming shake
Pantry | Snacks | 14 | 2.6 | Salted nuts; Tortilla chips; Diet bars; Popcorn
Pantry | Spices | 90 | 3.1 | Smoked paprika; Ras el hanout راس الحانوت; Vanilla; Peppercorns
Pantry | Oils & sauces | 45 | 5.4 | Olive oil; Soy sauce; Piri-piri; Jalapeño salsa
Pantry | Sweets | 14 | 2.3 | Dark chocolate; Liquorice; Türkish delight; Fruit gums
Pantry | Tins & jars | 30 | 1.9 | Chopped tomatoes; Chickpeas; Olives; Jam
Drinks | Coffee | 18 | 6.9 | Ground coffee; Espresso beans; Café soluble; Filter pads
Drinks | Tea | 35 | 4.2 | Green tea 緑茶; Rooibos; Breakfast tea; Camomile
Drinks | Juice & water | 7 | 1.9 | Orange juice; Sparkling water; Elderflower cordial; Kombucha
Drinks | Beer & cider | 12 | 7.5 | Pale ale; Cider; Lager; Alcohol-free beer
Drinks | Wine & spirits | 21 | 11.9 | Red wine; White wine; Whisky; Rosé
Household | Cleaning | 40 | 3.8 | Washing-up liquid; Surface spray; Sponges; Descaler
Household | Laundry | 35 | 7.9 | Washing powder; Fabric softener; Stain remover; Clothes pegs
Household | Paper goods | 21 | 4.6 | Toilet paper; Kitchen roll; Tissues; Napkins
Household | Lights & batteries | 120 | 8.5 | LED bulbs; AA batteries; Night light; Extension lead
Household | Candles | 60 | 6.2 | Tea lights; Scented candle; Festival candles; Lantern
Kitchen | Pans & knives | - | 34.0 | Cast-iron pan; Chef's knife; Wok; Saucepan
Kitchen | Small appliances | - | 59.0 | Kettle; Toaster; Hand blender; Kitchen scale
Kitchen | Tableware | - | 14.0 | Bowls; Wine glasses; Chopsticks; Tea set
Home | Bedding | - | 42.0 | Duvet cover; Pillow; Blanket; Fitted sheet
Home | Storage | - | 17.0 | Glass jars; Wicker basket; Shoe rack; Boxes
Home | Decoration | - | 21.0 | Picture frame; Cushion; Vase; Wall clock
Garden | Plants & seeds | 90 | 5.9 | Tomato seeds; Lavender; Compost; Spring bulbs
Garden | Tools | - | 23.0 | Trowel; Secateurs; Watering can; Garden gloves
Garden | Outdoors | - | 48.0 | Folding chair; Barbecue; Hammock; Bird feeder
Body | Hair | 45 | 5.8 | Shampoo; Conditioner; Hair wax; Brush
Body | Skin | 50 | 9.4 | Hand cream; Sun lotion; Face mask; Shaving foam
Body | Teeth | 40 | 3.9 | Toothpaste; Toothbrush; Floss; Mouthwash
Body | Bath | 35 | 4.4 | Soap; Bath salts; Shower gel; Loofah
Body | Wellness | 45 | 13.0 | Multivitamin; Folic acid; Massage oil; Body fat scale
Pharmacy | Medicine | 60 | 8.9 | Painkillers; Antacids; Antihistamines; Plasters
Pharmacy | Self tests | 90 | 9.9 | Thermometer; Pregnancy test; pH strips; Cooling pads
Pharmacy | Incontinence care | 20 | 13.5 | Pads; Bed protectors; Pull-ups
Pharmacy | Intimacy | 60 | 12.5 | Condoms; Lubricant; Massager
Baby | Infant care | 9 | 10.9 | Newborn nappies; Infant formula; Teething gel; Bottle teats
Kiosk | Tobacco | 5 | 8.4 | Cigarettes; Rolling tobacco; Lighters; Nicotine gum
Kiosk | Magazines | 30 | 4.8 | Crosswords; Cookery magazine; Comics; Gardening weekly
Books | Fiction | - | 12.9 | Crime novel; Short stories; Poésie; Science fiction
Books | Non-fiction | - | 16.9 | Cookbook; Biography; Travel guide; Prayer book
Books | Devotional | - | 15.0 | Rosary; Prayer mat; Menorah; Incense
Paper | Stationery | 75 | 4.3 | Notebook; Fountain pen; Envelopes; Washi tape 和紙
Paper | Craft | - | 9.8 | Wool; Watercolours; Sewing kit; Origami paper
Toys | Games | - | 24.0 | Board game; Jigsaw; Playing cards; Chess set
Toys | Toys | - | 18.0 | Building blocks; Soft toy; Toy train; Kite
Pets | Cats | 12 | 7.2 | Cat food; Cat litter; Cat toy; Cat treats
Pets | Dogs | 12 | 8.8 | Dog food; Dog lead; Chew sticks; Dog bed
Pets | Small animals | 25 | 5.5 | Hay; Bird seed; Fish flakes; Cage bedding
Sport | Cycling | - | 27.0 | Bicycle lamp; Inner tube; Helmet; Chain oil
Sport | Fitness | - | 22.0 | Yoga mat; Dumb-bells; Skipping rope; Water bottle
Clothes | Basics | - | 13.0 | Socks; T-shirt; Underwear; Tights
Clothes | Outerwear | - | 64.0 | Raincoat; Scarf; Wool hat; Gloves
Electronics | Sound | - | 79.0 | Headphones; Radio; Speaker; Microphone
Electronics | Phone & desk | - | 19.0 | Charger; USB cable; Mouse; Phone case
"""
"""Department, category, days until it is used up (-: it lasts), typical price, and the types."""

STRANDS = (
    ("thrifty", ("Nab", "Plain & Co", "Kvik", "Lidia's", "Tre Små", "Basta")),
    ("classic", ("Hartmann & Söhne", "Old Mill", "Maison Dubois", "Ørsted", "Whitby", "Casa Núñez")),
    ("green", ("Łąka", "Grüner Hof", "Wildroot", "Ekološ", "Terra Sã", "Hønefoss")),
    ("fine", ("Atelier Coëtlogon", "ミツバチ", "Château Brûlé", "Ποταμός", "Сад", "Ó Súilleabháin")),
)
"""Four ways to buy the same thing, and the brands that stand for each; the first sells own labels too."""

STRAND_PRICES = (0.7, 1.0, 1.25, 1.9)

TOUCHES = (
    "everyday", "fresh", "small-batch", "räucher-", "crème", "extra", "mild", "sélection", "golden", "añejo",
    "blue", "handmade", "tout-petit", "naïve", "big", "soft", "🌿", "n° 5", "Ångström", "İnce", "cafe\u0301",
)  # fmt: skip
SIZES = (
    "",
    ", large",
    ", small",
    ", 2 pieces",
    ", 500 g",
    ", 1 kg",
    " – limited label",
    ", refill",
    " × 6",
)

CALM_BADGES = ("New this week", "Neu ✿", "From the region", "Reusable jar")
URGENT_BADGES = ("Ends this weekend", "Last chance", "Flash deal: ends tonight")
SCARCE_BADGES = ("Only 3 left", "Only 2 left – hurry!", "Low stock")
SOCIAL_BADGES = ("1,200 people bought this", "Bestseller", "★ Most loved by 900 shoppers")

GESTURES: tuple[tuple[str, float | None, str | None, bool], ...] = (
    ("A thank-you card for being our neighbour", None, None, False),
    ("Recipe: soup from what is left", None, None, False),
    ("How to make a bouquet last – a tip", None, None, False),
    ("A sample of this week's tea", 0.0, None, False),
    ("Knife sharpening on us, any Tuesday", None, None, False),
    ("Merci, gràcies, дякуємо, 謝謝", None, None, False),
    ("A gift bag for 4.90", 4.9, None, False),
    ("A free mug with your next order over 40", None, "with an order over 40", False),
    ("A birthday surprise – open the link", None, None, True),
    ("A voucher if you bring a friend", 0.0, "after a friend's first order", True),
)
"""Title, price, condition and tracker: the last four are no gestures, and the boundary must see it."""
TRAPS = 4

ZONES = {
    "Europe/Berlin": 0.3, "Europe/London": 0.16, "Europe/Paris": 0.12, "America/New_York": 0.14,
    "America/Los_Angeles": 0.08, "America/Sao_Paulo": 0.05, "Asia/Kolkata": 0.05, "Asia/Tokyo": 0.05,
    "Australia/Sydney": 0.03, "Pacific/Auckland": 0.02,
}  # fmt: skip
"""Where shoppers live: IANA zone and share."""

FAMILIES = {
    "pregnancy_baby": 0.07, "health": 0.15, "sexuality": 0.04, "religion": 0.06, "alcohol": 0.2,
    "tobacco": 0.1, "weight": 0.08, "incontinence": 0.03,
}  # fmt: skip
"""Share of the shoppers that belongs to each sensitive family."""
