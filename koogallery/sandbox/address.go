package sandbox

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/seed-357fa782/licensed/koogallery"
)

// SetCallback changes the production address; the next attempt of whatever is
// pending goes there. A zero AccessKey keeps the present key. Deliveries which
// are Unsent stay so until Retry.
func (s *Sandbox) SetCallback(cb Callback) error { return s.setCallback("", cb) }

// SetProductCallback gives a product a production address of its own, and a key
// where cb has one: else the common key signs, whatever it is at the time.
// Without a URL the product has the address of SetCallback again.
func (s *Sandbox) SetProductCallback(product string, cb Callback) error {
	s.mu.Lock()
	_, ok := s.products[product]
	s.mu.Unlock()
	if !ok {
		return fmt.Errorf("callback of %q: %w", product, ErrUnknownProduct)
	}
	return s.setCallback(product, cb)
}

func (s *Sandbox) setCallback(product string, cb Callback) error {
	var t *target
	if cb.URL != "" {
		u, err := url.Parse(cb.URL)
		if err != nil {
			return fmt.Errorf("callback address: %w: %w", ErrInvalid, err)
		}
		if u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
			return fmt.Errorf("callback address: want https, or http on the loopback: %w", ErrInvalid)
		}
		t = &target{url: u, client: s.callbackClient(cb), given: cb}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if product == "" && !cb.AccessKey.IsZero() {
		s.accessKey = cb.AccessKey
	}
	if delete(s.targets, product); t == nil {
		return nil
	}
	if product == "" {
		t.given.AccessKey = koogallery.AccessKey{} // accessKey has it
	}
	s.targets[product] = t
	if t.url.Scheme == "https" && net.ParseIP(t.url.Hostname()) != nil {
		s.note(Event{Kind: EventWarning, Product: product, Text: "the production address is an IP address; the real marketplace wants a domain name"})
	}
	return nil
}

// SetAccessKey exchanges the key which signs callbacks, of all addresses that
// have none of their own, or of a product's own address. The addresses stay.
func (s *Sandbox) SetAccessKey(product string, key koogallery.AccessKey) error {
	if key.IsZero() {
		return fmt.Errorf("access key: none given: %w", ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if product == "" {
		s.accessKey = key
		return nil
	}
	if s.products[product] == nil {
		return fmt.Errorf("access key of %q: %w", product, ErrUnknownProduct)
	}
	old := s.targets[product]
	if old == nil {
		return fmt.Errorf("access key of %q, which has no production address of its own: %w", product, ErrState)
	}
	t := *old // a running attempt has the old one
	t.given.AccessKey = key
	s.targets[product] = &t
	return nil
}

// callbackOf is the production address of a product, or the common one for "";
// its URL is empty where there is none.
func (s *Sandbox) callbackOf(product string) Callback {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.targets[product]; t != nil {
		return t.given
	}
	return Callback{}
}

// key signs the calls of a production address. The caller holds s.mu.
func (s *Sandbox) key(t *target) koogallery.AccessKey {
	if t.given.AccessKey.IsZero() {
		return s.accessKey
	}
	return t.given.AccessKey
}

// target is where a product is called, or nil. The caller holds s.mu.
func (s *Sandbox) target(product string) *target {
	if t := s.targets[product]; t != nil {
		return t
	}
	return s.targets[""]
}

func (s *Sandbox) callbackClient(cb Callback) *http.Client {
	var transport http.RoundTripper = &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: cb.RootCAs, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, // nothing to close when the address changes
	}
	if s.opts.CallbackTransport != nil {
		transport = s.opts.CallbackTransport
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
