"""One module a tab: a function that lays it out and wires it to the page's handlers."""
