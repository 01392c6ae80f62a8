package daemon

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/adminapi"
	"github.com/seed-357fa782/licensed/daemon/internal/market"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// startWatch keeps what is counted of the marketplaces, and tells the log what
// endangers them.
func (d *Daemon) startWatch(ctx context.Context) {
	if len(d.config.Marketplaces) == 0 {
		return
	}
	d.serving.Go(func() {
		d.authority.RunHealth(ctx, func(err error) {
			d.log.Warn("what the marketplaces send is counted and cannot be kept; it is tried again", "error", err.Error())
		})
	})
	watch := &market.Watch{Authority: d.authority, Log: d.log, Now: d.now}
	d.serving.Go(func() { watch.Run(ctx) })
}

// marketplaces are all entries in one line each.
func (d *Daemon) marketplaces(ctx context.Context) []adminwire.MarketplaceLine {
	out := []adminwire.MarketplaceLine{}
	for _, m := range d.config.Marketplaces {
		h, err := d.authority.Health(ctx, m.Name, false)
		if err != nil { // that the store does not answer is said elsewhere
			continue
		}
		out = append(out, adminapi.MarketplaceLine(h))
	}
	return out
}

// certificateEnd is when the certificate of the public listener ends, zero where
// it has none.
func (d *Daemon) certificateEnd() time.Time {
	if d.settings.cert == nil {
		return time.Time{}
	}
	c, err := d.settings.cert.get(nil)
	if err != nil || len(c.Certificate) == 0 {
		return time.Time{}
	}
	leaf := c.Leaf
	if leaf == nil {
		if leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return time.Time{}
		}
	}
	return leaf.NotAfter.UTC()
}

// probesMissing is why a daemon is not ready that was configured to depend on
// the marketplace's probes, "" where it is: they are refused, or do not come. An
// entry that was never probed does not count, nor one that is off sale.
func (d *Daemon) probesMissing(ctx context.Context) string {
	for _, m := range d.config.Marketplaces {
		if !m.ReadyRequiresProbes {
			continue
		}
		h, err := d.authority.Health(ctx, m.Name, false)
		if err != nil {
			continue
		}
		for _, p := range h.Problems {
			if p.Code.NotProbed() {
				return fmt.Sprintf("the marketplace's probes of %s fail", m.Name)
			}
		}
	}
	return ""
}

// selfTest drives debug calls through the public listener.
// Without an address those are the entry's own, at its own listener.
func (d *Daemon) selfTest(ctx context.Context, name, address string) (adminwire.SelfTest, error) {
	for _, entry := range d.settings.entries {
		if entry.Name != name {
			continue
		}
		entry.Authority, entry.Log, entry.SelfTest = d.authority, d.log, d.selfTestMark
		route, err := d.selfTestRoute(name, address)
		if err != nil {
			return adminwire.SelfTest{}, err
		}
		calls, seen, err := market.SelfTest(ctx, entry, route)
		if err != nil {
			return adminwire.SelfTest{}, fmt.Errorf("self-test of %s: %w", name, err)
		}
		return selfTestShown(name, route, calls, seen), nil
	}
	return adminwire.SelfTest{}, license.Errorf(license.NotFound, "there is no marketplace %.64q", name)
}

// selfTestRoute is how a caller on this machine reaches the public listener or,
// where an address is given, what the marketplace reaches. A certificate has to be
// for the host of that or of the issuer, which is what installs and, unless it was
// given another name, the marketplace know the daemon by.
func (d *Daemon) selfTestRoute(name, address string) (market.Route, error) {
	if address != "" {
		return publicRoute(name, address)
	}
	host, port, err := net.SplitHostPort(d.Addr())
	if err != nil {
		host = d.Addr()
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		if host = "127.0.0.1"; ip.Is6() {
			host = "::1"
		}
	}
	r := market.Route{Dial: net.JoinHostPort(host, port), URL: "http://" + net.JoinHostPort(host, port) + "/marketplace/" + name}
	if !d.config.Public.TLS.Enabled() {
		return r, nil
	}
	shown := r.Dial
	if u, err := url.Parse(d.ring.KeySet().Issuer); err == nil && u.Hostname() != "" {
		shown = u.Host
	}
	r.URL = "https://" + shown + "/marketplace/" + name
	return r, nil
}

// publicRoute is the way to an address as the marketplace has it; one without a
// path is that of a daemon.
func publicRoute(name, address string) (market.Route, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return market.Route{}, license.FieldErrorf("url", "it is no address of the form https://HOST[:PORT][/PATH]")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/marketplace/" + name
	}
	return market.Route{URL: u.String()}, nil
}

func selfTestShown(name string, r market.Route, calls []market.Tested, seen *market.TestedTLS) adminwire.SelfTest {
	out := adminwire.SelfTest{Channel: name, URL: r.URL, Listener: r.Dial, OK: true, Calls: []adminwire.SelfTestCall{}}
	for _, c := range calls {
		out.Calls = append(out.Calls, adminwire.SelfTestCall{
			Method: c.Method, Activity: string(c.Activity), Key: c.Key + 1, HTTPStatus: c.Status, Result: string(c.Result),
			Milliseconds: c.Took.Milliseconds(), Failure: c.Failure,
		})
		if c.Failure != "" {
			out.OK = false
		}
	}
	if seen != nil {
		out.TLS = &adminwire.SelfTestTLS{Version: seen.Version, Names: append([]string{}, seen.Names...), NotAfter: seen.NotAfter}
	}
	return out
}
