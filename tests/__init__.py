"""The suite. ``make test`` runs all of it; see CONTRIBUTING.md."""
