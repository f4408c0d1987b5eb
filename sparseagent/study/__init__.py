"""Studies: many trainings from one YAML file, one table of results, one report."""
