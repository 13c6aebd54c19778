"""Words for people: what is wrong with a value, text that is safe to print, similar names."""
