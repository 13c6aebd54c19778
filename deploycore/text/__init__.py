"""Text for people: descriptions of invalid values, text that is safe to print, similar names."""
