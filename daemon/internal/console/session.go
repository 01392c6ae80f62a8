package console

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// cookieName is that of the session. Over TLS its prefix has browsers take it from this
// host only (RFC 6265bis section 4.1.3).
func (c *Console) cookieName() string {
	if c.o.Secure {
		return "__Host-licensed"
	}
	return "licensed"
}

// session finds out who has signed in.
func (v *visit) session() error {
	k, err := v.r.Cookie(v.cookieName())
	if err != nil {
		return license.Errorf(license.Unauthorized, "nobody has signed in")
	}
	p, s, err := v.o.Authority.Session(v.ctx(), k.Value)
	if err != nil {
		return err
	}
	v.who, v.at = p, s
	return nil
}

func (v *visit) setCookie(value string, age int) {
	http.SetCookie(v.w, &http.Cookie{ //nolint:gosec // Secure wherever browsers come over TLS; else it is the loopback
		Name: v.cookieName(), Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: v.o.Secure, SameSite: http.SameSiteStrictMode,
	})
}

// signInData is what the page to sign in shows.
type signInData struct {
	Refused *refusal
	To      string   // the page that was asked for
	Kept    []hidden // the form that was sent in without a session
	Ended   bool     // a session has ended
}

// hidden is a field of a form that is carried along.
type hidden struct{ Name, Value string }

// The names of the fields of the page itself. What it carries has another prefix.
const (
	fieldToken = "token"
	fieldTo    = "to"
	keptPrefix = "kept."
)

// signInFirst asks whoever asks for a page to sign in. A form that was sent in is kept in
// the page: it is shown again afterwards, and not carried out.
func (v *visit) signInFirst() {
	_, err := v.r.Cookie(v.cookieName())
	d := signInData{Ended: err == nil, To: v.r.URL.RequestURI()}
	if v.r.Method == http.MethodPost {
		d.Ended = true
		for name, values := range v.r.PostForm {
			for _, value := range values {
				d.Kept = append(d.Kept, hidden{keptPrefix + name, value})
			}
		}
	}
	if v.r.Method == http.MethodPost && len(d.Kept) == 0 {
		d.To = Prefix // there is nothing to go on with
	}
	v.showAs(http.StatusUnauthorized, "sign-in", "", d)
}

func (v *visit) signInPage() {
	if v.who.ID != "" {
		v.to(Prefix)
		return
	}
	v.show("sign-in", "", signInData{To: Prefix})
}

// signIn begins a session for whoever has a token.
func (v *visit) signIn() {
	d := signInData{To: ownPage(v.r.PostForm.Get(fieldTo))}
	for name, values := range v.r.PostForm {
		if strings.HasPrefix(name, keptPrefix) {
			for _, value := range values {
				d.Kept = append(d.Kept, hidden{name, value})
			}
		}
	}
	secret, err := v.begin(strings.TrimSpace(v.r.PostForm.Get(fieldToken)))
	if err != nil {
		r := newRefusal(v.ctx(), err)
		d.Refused = &r
		v.showAs(wire.StatusOf(license.ReasonOf(err)), "sign-in", "", d)
		return
	}
	if v.who.ID != "" {
		_ = v.o.Authority.EndSession(v.ctx(), v.at) // the one of before, which ends by itself otherwise
	}
	v.setCookie(secret, int(authority.SessionLife.Seconds()))
	if len(d.Kept) == 0 {
		v.to(d.To)
		return
	}
	for i := range d.Kept {
		d.Kept[i].Name = strings.TrimPrefix(d.Kept[i].Name, keptPrefix)
	}
	v.show("resume", "", d)
}

// begin finds out who has a token, through the guard of the API, which locks guessers
// out, and begins a session.
func (v *visit) begin(token string) (secret string, err error) {
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", license.Errorf(license.Unauthorized, "the token is not known, has expired or was revoked")
	}
	self, err := v.tokens.WithToken(token).Self(v.ctx())
	if err != nil {
		return "", err
	}
	p := authority.Principal{ID: self.ID, Name: self.Name, Role: authority.Role(self.Role), Products: self.Products}
	_, secret, err = v.o.Authority.BeginSession(v.ctx(), p, operation.ClientAddr(v.ctx()))
	return secret, err
}

func (v *visit) signOut() {
	if err := v.o.Authority.EndSession(v.ctx(), v.at); err != nil {
		v.refuse(err)
		return
	}
	v.setCookie("", -1)
	v.to(Prefix + "sign-in")
}

// signOutEverywhere ends the session in every browser.
func (v *visit) signOutEverywhere() {
	who := license.Actor{Kind: license.ActorAdmin, Name: v.who.Name, Addr: operation.ClientAddr(v.ctx())}
	if _, err := v.o.Authority.EndSessions(v.ctx(), who, v.who.ID); err != nil {
		v.refuse(err)
		return
	}
	v.setCookie("", -1)
	v.to(Prefix + "sign-in")
}

// ownPage is an address of the console, whatever was sent.
func ownPage(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, Prefix) || strings.Contains(to, "\\") || strings.HasPrefix(to, "//") {
		return Prefix
	}
	return (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).String()
}
