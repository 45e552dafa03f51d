"""One file for each tab: Files, Machines, Activity, Safety, History."""
