package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

// sandboxOptions are the settings of the scenario, and before them the flags.
func sandboxOptions(c *cli.Context) (sandbox.Options, *sandbox.Scenario, error) {
	var opts sandbox.Options
	var scenario *sandbox.Scenario
	if path := c.String("scenario"); path != "" {
		data, err := readFile(path)
		if err != nil {
			return opts, nil, usagef("--scenario: %v", err)
		}
		if scenario, err = sandbox.ParseScenario(path, data); err != nil {
			return opts, nil, usagef("--scenario: %v", err)
		}
		opts = scenario.Options(opts)
	} else if c.Bool("once") {
		return opts, nil, usagef("--once goes with --scenario")
	}
	opts.Addr, opts.Callback = c.String("listen"), sandbox.Callback{URL: c.String("callback")}
	opts.Hosts = sandboxHosts(c.String("listen"), c.StringSlice("host"))
	if len(opts.Products) == 0 || c.IsSet("product") {
		products, err := sandboxProducts(c.StringSlice("product"))
		if err != nil {
			return opts, nil, err
		}
		opts.Products = products
	}
	if c.Duration("interval") <= 0 {
		return opts, nil, usagef("--interval must be longer than nothing")
	}
	if opts.RetryInterval == 0 || c.IsSet("interval") {
		opts.RetryInterval = c.Duration("interval")
	}
	if c.Duration("probe-interval") < 0 {
		return opts, nil, usagef("--probe-interval must not be negative")
	}
	if c.IsSet("probe-interval") {
		opts.ProbeInterval = c.Duration("probe-interval")
	}
	if c.Duration("day") <= 0 {
		return opts, nil, usagef("--day must be longer than nothing")
	}
	if c.IsSet("day") {
		opts.Day = c.Duration("day")
	}
	if c.Duration("wait") < 0 {
		return opts, nil, usagef("--wait must not be negative")
	}
	for name, option := range map[string]*bool{
		"require-receive": &opts.RequireReceive, "notify-orders": &opts.NotifyOrders, "no-query-v2": &opts.NoQueryV2,
	} {
		if c.IsSet(name) {
			*option = c.Bool(name)
		}
	}
	if c.IsSet("seed") {
		opts.Seed = c.Uint64("seed")
	}
	if c.IsSet("fault") {
		faults, err := sandboxFaults(c.StringSlice("fault"))
		if err != nil {
			return opts, nil, err
		}
		opts.Misbehaviour.Faults = faults
	}
	for _, item := range c.StringSlice("dialect") {
		name, value, ok := strings.Cut(item, "=")
		if !ok || value == "" {
			return opts, nil, usagef("--dialect %q: write NAME=VALUE, such as body_order=sample", item)
		}
		if err := opts.Dialect.Set(name, value); err != nil {
			return opts, nil, usagef("--dialect %q: %v", item, err)
		}
	}
	return opts, scenario, nil
}

// sandboxHosts are the names in the certificate, and those under which the page
// answers. On every address of the machine these are, beside what was named, its
// own name and addresses: other machines and containers use those.
func sandboxHosts(listen string, named []string) []string {
	host, _, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || host != "" && (ip == nil || !ip.IsUnspecified()) {
		return named
	}
	hosts := append(slices.Clone(named), "localhost")
	if name, err := os.Hostname(); err == nil && name != "" {
		hosts = append(hosts, name)
	}
	addresses, _ := net.InterfaceAddrs() // without them those who use a name still come in
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok {
			hosts = append(hosts, n.IP.String())
		}
	}
	return hosts
}

// dialectLines lists the settings of a dialect, for the help.
func dialectLines() string {
	var b strings.Builder
	for _, s := range sandbox.DialectSettings() {
		more := ""
		if s.Any {
			more = " or another text"
		}
		fmt.Fprintf(&b, "  %s: %s%s (%s)\n", s.Name, strings.Join(s.Values, ", "), more, s.About)
	}
	return b.String()
}

// awaitMerchant waits until there is somebody to play with.
func (p *program) awaitMerchant(c *cli.Context, s *sandbox.Sandbox) error {
	wait := c.Duration("wait")
	if wait == 0 || c.String("callback") == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.Context, wait)
	defer cancel()
	err := s.WaitMerchant(ctx)
	switch {
	case err == nil || c.Err() != nil && !c.Bool("once"):
		return nil
	case c.Err() == nil && ctx.Err() != nil:
		return fmt.Errorf("%s did not answer within %v (--wait): %w", c.String("callback"), wait, err)
	}
	return err
}

func sandboxProducts(list []string) ([]sandbox.Product, error) {
	if len(list) == 0 {
		return []sandbox.Product{{ID: "OFFI0001", Name: "Demo"}}, nil
	}
	var out []sandbox.Product
	for _, item := range list {
		id, name, _ := strings.Cut(item, "=")
		id, kind, _ := strings.Cut(id, ":")
		if id == "" {
			return nil, usagef("--product %q has no id; write ID[:INTERFACE]=NAME", item)
		}
		out = append(out, sandbox.Product{ID: id, Name: name, Interface: sandbox.Interface(kind)})
	}
	return out, nil
}

func sandboxFaults(list []string) (map[sandbox.Fault]float64, error) {
	faults := make(map[sandbox.Fault]float64)
	for _, item := range list {
		name, text, _ := strings.Cut(item, "=")
		p, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, usagef("--fault %q: write NAME=PROBABILITY, such as late=0.1", item)
		}
		faults[sandbox.Fault(name)] = p
	}
	return faults, nil
}

func faultNames() string {
	var names []string
	for _, f := range sandbox.Faults() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// play does the steps and says each. An interruption is the wanted end of a
// sandbox, but not of one that should play to the end.
func (p *program) play(c *cli.Context, s *sandbox.Sandbox, sc *sandbox.Scenario) error {
	err := s.Play(c.Context, sc, func(step string) { p.note("%s: done", step) })
	if err != nil && c.Err() != nil && !c.Bool("once") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	p.note("all %d steps were done", sc.Steps())
	return nil
}

// beyondLoopback reports an address which others can reach.
func beyondLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && host != "localhost" && (ip == nil || !ip.IsLoopback())
}
