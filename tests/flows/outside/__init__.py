"""Stories told from outside a platform that really runs: several processes, HTTP and the command line only."""
