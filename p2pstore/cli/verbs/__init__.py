"""One function for each verb, imported only when it is used; `p2pstore.cli.main.VERBS` lists them."""
