"""The calls that scenarios, commands and the API offer, each declared once."""
