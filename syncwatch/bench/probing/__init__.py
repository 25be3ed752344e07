"""Measures what the installed torch and this GPU really do, instead of relying on what is known of them."""
