"""Generated from proto/rookery/v1 by `make proto`. Never edited by hand."""
