package fingerprint

// WithPermanent makes a Collector ask f for permanent addresses.
func WithPermanent(c Collector, f func(adapter string) string) Collector {
	c.permanent = f
	return c
}
