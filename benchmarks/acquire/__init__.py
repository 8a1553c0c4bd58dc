"""Downloads with all their checks beside plain ones."""
