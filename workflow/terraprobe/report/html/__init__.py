"""The page's template, style and script, and what fills them."""
