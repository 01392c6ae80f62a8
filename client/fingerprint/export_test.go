package fingerprint

import "github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"

// What the parsers of single answers make of them.
var (
	UnitSerial     = unitSerial
	WorldwideName  = worldwideName
	ProcessorModel = processorModel
	ProcessorID    = processorID
)

// WithPermanent makes a Collector ask f for permanent addresses.
func WithPermanent(c Collector, f func(adapter string) string) Collector {
	c.permanent = f
	return c
}

// WithEnvironment makes a Collector go by an environment, whatever it finds.
func WithEnvironment(c Collector, environment string) Collector {
	c.environment = environment
	return c
}

// Take is what a Collector makes of what a system says of its machine.
func Take(c Collector, p machine.Parts) Set {
	g := c.gather()
	g.take(p)
	return g.done()
}
