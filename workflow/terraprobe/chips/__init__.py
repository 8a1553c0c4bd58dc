"""Chips: cut from tiles, stored, labelled."""
