"""What leaves lctui: tables of runs, and the packed artifact."""
