"""Studies to network inputs. Torch begins here."""
