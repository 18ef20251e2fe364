"""The manager: decides what runs where, and keeps it so."""
