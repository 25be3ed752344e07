"""Programs of many libraries, written as their users write them, to run on a GPU and on the virtual device."""
