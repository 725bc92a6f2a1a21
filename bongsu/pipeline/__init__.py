"""The whole way: which stages a recipe has, what each is made from, and running them in order."""
