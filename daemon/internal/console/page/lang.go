package page

import (
	"net/http"
	"net/url"
	"slices"

	"golang.org/x/text/language"
)

// Lang is a language that pages are written in.
type Lang string

// The languages.
const (
	English Lang = "en"
	Chinese Lang = "zh-CN"
)

// Langs lists them, the one first that a browser gets which asks for none of them.
func Langs() []Lang { return []Lang{English, Chinese} }

const (
	langQuery  = "lang"
	langCookie = "lang"
	langKept   = 365 * 24 * 60 * 60 // seconds
)

// matcher knows the languages, English first.
var matcher = language.NewMatcher([]language.Tag{language.English, language.SimplifiedChinese, language.TraditionalChinese})

// Lang is the language of a request: what was chosen, or else what the browser asks
// for.
func (s *Site) Lang(r *http.Request) Lang {
	if c, err := r.Cookie(langCookie); err == nil && slices.Contains(Langs(), Lang(c.Value)) {
		return Lang(c.Value)
	}
	tags, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil || len(tags) == 0 {
		return Langs()[0]
	}
	// Whoever reads any Chinese reads simplified Chinese rather than English.
	_, i, _ := matcher.Match(tags...)
	if i > 0 {
		return Chinese
	}
	return English
}

// Switch takes ?lang= out of an address and keeps it in a cookie. It reports
// whether it has answered.
func (s *Site) Switch(w http.ResponseWriter, r *http.Request, secure bool) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	q := r.URL.Query()
	l := Lang(q.Get(langQuery))
	if !slices.Contains(Langs(), l) {
		return false
	}
	q.Del(langQuery)
	to := *r.URL
	to.Scheme, to.Host, to.RawQuery = "", "", q.Encode()
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // a language is no secret; over TLS it is Secure
		Name: langCookie, Value: string(l), Path: "/", MaxAge: langKept, HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode,
	})
	s.Headers(w.Header())
	http.Redirect(w, r, local(to.String()), http.StatusSeeOther) //nolint:gosec // without scheme and host it is a page of this server
	return true
}

// langLink is the address of a page in another language.
func langLink(path string, l Lang) string {
	u, err := url.Parse(local(path))
	if err != nil {
		return "?" + langQuery + "=" + string(l)
	}
	q := u.Query()
	q.Set(langQuery, string(l))
	return (&url.URL{Path: u.Path, RawQuery: q.Encode()}).String()
}

// local keeps an address on this server: "//host" would be another one.
func local(path string) string {
	if len(path) > 1 && path[0] == '/' && (path[1] == '/' || path[1] == '\\') {
		return "/"
	}
	return path
}
