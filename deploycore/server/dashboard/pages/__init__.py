"""The pages, a module for each subject. Each ends with the list of its pages."""
