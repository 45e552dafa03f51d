"""What lies over the panes: questions, confirmations, help, an invitation, the first run."""
