package config

import "net/mail"

// Activate is the buyer's page, /activate on the public listener.
type Activate struct {
	Off   bool   `yaml:"off"`   // there is no such page: false
	Title string `yaml:"title"` // above the page, as the name of the merchant; none: a plain one
	// Contact is where buyers find help: an https:// address or a mail address.
	Contact string `yaml:"contact"`
}

// Bounds of texts on the buyer's page, in bytes.
const (
	maxTitle   = 100
	maxContact = 200
)

func (v *validator) activate(a Activate) {
	v.text("activate.title", a.Title, maxTitle)
	v.text("activate.contact", a.Contact, maxContact)
	if a.Contact == "" || a.ContactIsMail() {
		return
	}
	if _, err := parseURL(a.Contact, "https", "http"); err != nil {
		v.failf("activate.contact", "%q is neither a mail address, as help@example.com, nor a URL that begins with https://", a.Contact)
	}
}

// ContactIsMail reports whether Contact is a mail address.
func (a Activate) ContactIsMail() bool {
	m, err := mail.ParseAddress(a.Contact)
	return err == nil && m.Name == "" && m.Address == a.Contact
}
