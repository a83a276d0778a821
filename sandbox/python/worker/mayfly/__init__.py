"""Mayfly's services for functions."""
