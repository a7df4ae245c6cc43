"""Data sets, and how they become the tables the boundary reads; a card for each is in `README.md`."""
