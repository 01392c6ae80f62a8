package config

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

var webhookName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,62}$`)

// maxSecrets is how many secrets a webhook is signed with at most: each costs a
// signature in every request.
const maxSecrets = 4

// setName names a webhook that has no name after the host of its URL.
func (w *Webhook) setName() {
	if u, err := url.Parse(w.URL); err == nil && w.Name == "" {
		w.Name = strings.ReplaceAll(strings.ToLower(u.Hostname()), ":", "-")
	}
}

// webhook checks one; products are those that are configured.
func (v *validator) webhook(key string, w Webhook, products map[string]string) {
	u, err := parseURL(w.URL, "http", "https")
	switch {
	case err != nil:
		v.check(key+".url", err)
	case u.Scheme == "http" && !isLoopbackHost(u.Hostname()):
		v.failf(key+".url", "http:// is for this machine only, since anybody on the way could read along; use https://")
	case !webhookName.MatchString(w.Name):
		v.failf(key+".name", "%q is no name for a webhook; use up to 63 of a-z, 0-9, dot and -, a letter or digit first", w.Name)
	}
	secrets := w.Secrets()
	if len(secrets) == 0 {
		v.failf(key+".secret_file", "must be set; licensectl webhook secret makes a secret")
	}
	if len(secrets) > maxSecrets {
		v.failf(key+".secret_files", "there are %d secrets, and may be %d", len(secrets), maxSecrets)
	}
	for j, path := range w.SecretFiles {
		v.notEmpty(element(key+".secret_files", j), path)
	}
	for j, e := range w.Events {
		v.notEmpty(element(key+".events", j), e)
	}
	for j, id := range w.Products {
		if products[id] == "" {
			v.failf(element(key+".products", j), "there is no product %q", id)
		}
	}
	for j, what := range w.Include {
		v.oneOf(element(key+".include", j), what, "customer", "actor", "note")
	}
}

// isLoopbackHost reports whether the host of a URL is this machine.
func isLoopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
