"""The models that scenarios stand in for: three layers of Gated DeltaNet (GDN), then one of attention."""
