"""The page that browsers show: files that `service/routes/page.py` serves, and no Python."""
