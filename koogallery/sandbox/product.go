package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// Interface is the generation of the marketplace's interface which a product
// uses.
type Interface string

// The interfaces. A production address can hold all three.
const (
	// License2 sells authorization codes, made by the marketplace (access guide
	// …649172). It is the default.
	License2 Interface = "license2"
	// Online is online provisioning: the merchant makes instances, and licences
	// for devices (…649251 and after).
	Online Interface = "online"
	// License1 is the retired GET interface: the merchant makes the licence
	// (…649153).
	License1 Interface = "license1"
)

// expireInstance is the sibling interface's literal for the expiry of 1.0.
const expireInstance koogallery.Activity = "expireInstance"

// Product is something for sale.
type Product struct {
	ID        string    `json:"id"`                  // productId, 1 to 64 characters
	Name      string    `json:"name,omitempty"`      // for people
	Interface Interface `json:"interface,omitempty"` // empty: License2
	SKU       string    `json:"sku,omitempty"`       // skuCode, up to 64 characters; empty: the id
	// ExpireActivity is the literal with which licence 1.0 tells of an expiry;
	// which is right is not known. "expireLicense" if empty, or "expireInstance".
	ExpireActivity koogallery.Activity `json:"expire_activity,omitempty"`
	// Encryption is how licence 1.0 encrypts the buyer's number and address;
	// empty means koogallery.EncryptAES256.
	Encryption koogallery.Encryption `json:"encryption,omitempty"`
}

// complete checks a product and fills in its defaults.
func (p Product) complete() (Product, error) {
	if p.Interface == "" {
		p.Interface = License2
	}
	if p.SKU == "" {
		p.SKU = p.ID
	}
	if p.ExpireActivity == "" {
		p.ExpireActivity = koogallery.ActivityV1ExpireLicense
	}
	if p.Encryption == "" {
		p.Encryption = koogallery.EncryptAES256
	}
	switch {
	case !slices.Contains([]Interface{License2, Online, License1}, p.Interface):
		return p, fmt.Errorf("sandbox: product %q: interface %q is none of license2, online, license1", p.ID, p.Interface)
	case p.ExpireActivity != koogallery.ActivityV1ExpireLicense && p.ExpireActivity != expireInstance:
		return p, fmt.Errorf("sandbox: product %q: expire activity %q is neither expireLicense nor expireInstance", p.ID, p.ExpireActivity)
	case p.Encryption != koogallery.EncryptAES256 && p.Encryption != koogallery.EncryptAES128:
		return p, fmt.Errorf("sandbox: product %q: encryption %q is neither 1 nor 2", p.ID, p.Encryption)
	case characters(p.SKU) > 64:
		return p, fmt.Errorf("sandbox: product %q: SKU is longer than 64 characters", p.ID)
	}
	return p, nil
}

// checkProducts completes a catalogue.
func checkProducts(list []Product) ([]Product, error) {
	if len(list) == 0 {
		return nil, errors.New("sandbox: no products")
	}
	seen := make(map[string]bool)
	out := make([]Product, 0, len(list))
	for _, p := range list {
		if p.ID == "" || characters(p.ID) > 64 || seen[p.ID] {
			return nil, fmt.Errorf("sandbox: product id %q is empty, longer than 64 or repeated", p.ID)
		}
		seen[p.ID] = true
		p, err := p.complete()
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// ProductState is how a product stands in the marketplace.
type ProductState struct {
	Product

	Stopped    bool // by Stop: not sold and not probed
	Frozen     bool // by MaxFailedDays of failed probes: hidden, not sold
	FailedDays int  // days in a row on which a probe failed, today included; 0 again from the first good probe of a day without a bad one
}

// MaxFailedDays is on how many days in a row probes may fail before trading of
// the product is frozen (access guide …649172).
const MaxFailedDays = 5

// catalogued is a product under Sandbox.mu.
type catalogued struct {
	ProductState
	day    string // of the latest probe
	failed bool   // that day
	row    int    // of failed days before that day
}

// Products lists the catalogue.
func (s *Sandbox) Products() []Product { return slices.Clone(s.opts.Products) }

// ProductStates lists the catalogue with what became of it.
func (s *Sandbox) ProductStates() []ProductState {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]ProductState, 0, len(s.opts.Products))
	for _, p := range s.opts.Products {
		list = append(list, s.products[p.ID].ProductState)
	}
	return list
}

// Stop takes a product off the market: it is neither sold nor probed. What was
// sold goes on.
func (s *Sandbox) Stop(product string) error { return s.setStopped("stop", product, true) }

// Resume puts a stopped or frozen product back on the market, and forgets its
// failed days.
func (s *Sandbox) Resume(product string) error { return s.setStopped("resume", product, false) }

func (s *Sandbox) setStopped(what, product string, stopped bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.products[product]
	if !ok {
		return fmt.Errorf("%s %q: %w", what, product, ErrUnknownProduct)
	}
	p.Stopped = stopped
	if !stopped {
		p.Frozen, p.FailedDays, p.failed, p.row = false, 0, false, 0
	}
	s.note(Event{Kind: EventProduct, Product: product, Text: what + " sale of the product"})
	return nil
}

// tradable finds a product that can be bought. The caller holds s.mu.
func (s *Sandbox) tradable(what, product string) (*catalogued, error) {
	p, ok := s.products[product]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s %q: %w", what, product, ErrUnknownProduct)
	case p.Stopped:
		return nil, fmt.Errorf("%s %q, which is stopped: %w", what, product, ErrState)
	case p.Frozen:
		return nil, fmt.Errorf("%s %q, of which trading is frozen: %w", what, product, ErrState)
	}
	return p, nil
}

// probed takes the outcome of one probe of a product. The caller holds s.mu.
func (s *Sandbox) probed(p *catalogued, ok bool) {
	if day := s.day(); p.day != day {
		p.row = p.FailedDays // 0 if the last day with probes was a good one
		p.day, p.failed = day, false
	}
	switch {
	case ok && !p.failed:
		p.FailedDays = 0 // a good day, unless a later probe fails
		return
	case ok || p.failed:
		return
	}
	p.failed = true
	p.FailedDays = p.row + 1
	s.note(Event{Kind: EventNotice, Product: p.ID, Text: fmt.Sprintf("mail, SMS and console message: a probe failed, day %d of %d", p.FailedDays, MaxFailedDays)})
	if p.FailedDays >= MaxFailedDays && !p.Frozen {
		p.Frozen = true
		s.note(Event{Kind: EventProduct, Product: p.ID, Text: "trading is frozen and the product hidden after 5 days of failed probes"})
	}
}

// day names the present day, which Options.Day can make shorter.
func (s *Sandbox) day() string {
	if s.opts.Day == DefaultDay {
		return s.now().In(s.opts.Location).Format(time.DateOnly)
	}
	return strconv.FormatInt(s.opts.Now().UnixNano()/int64(s.opts.Day), 10)
}
