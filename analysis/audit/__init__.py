"""Do a run's ratings agree with people, or with gold ratings? Every rating against the same truth."""
