"""Part of Pilotage; see the modules."""
