package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed" // the page
	"encoding/hex"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS []byte

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

const sessionCookie = "sandbox"

// maxForm bounds what a form may hold.
const maxForm = 64 << 10

// pages adds the web page under /sandbox/: the buttons for what the control API
// does. It works without scripts. Whoever opens it gives the control token once;
// a cookie stands for it afterwards. Forms go by POST with a token of that
// cookie, and only requests which name one of the sandbox's own hosts are
// answered, so that no other site, rebound name included, can press a button.
func (s *Sandbox) pages(mux *http.ServeMux) {
	mux.HandleFunc("GET /sandbox/{$}", s.atHome(s.showPage))
	mux.HandleFunc("GET /sandbox/page.css", s.atHome(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = w.Write(pageCSS) // a reader which is gone
	}))
	mux.HandleFunc("GET /sandbox/messages/{id}", s.atHome(s.showMessage))
	mux.HandleFunc("POST /sandbox/login", s.atHome(s.login))
	mux.HandleFunc("POST /sandbox/do", s.atHome(s.press))
	mux.HandleFunc("/sandbox/", s.atHome(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "there is nothing; the page is /sandbox/", http.StatusNotFound)
	}))
}

// atHome refuses other hosts and forms of other sites.
func (s *Sandbox) atHome(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.Trim(host, "[]")
		site := r.Header.Get("Sec-Fetch-Site")
		foreign := r.Method == http.MethodPost && site != "" && site != "same-origin"
		if origin := r.Header.Get("Origin"); r.Method == http.MethodPost && origin != "" {
			u, err := url.Parse(origin)
			foreign = foreign || err != nil || u.Host != r.Host
		}
		if foreign || !slices.ContainsFunc(s.opts.certificateHosts(), func(h string) bool { return strings.EqualFold(h, host) }) {
			http.Error(w, "this page answers only under its own name", http.StatusForbidden)
			return
		}
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		h(w, r)
	}
}

// secret makes the cookie and the form token, neither of which tells the
// control token.
func (s *Sandbox) secret(purpose string) string {
	mac := hmac.New(sha256.New, []byte(s.opts.ControlToken.Reveal()))
	mac.Write([]byte(purpose + "\n" + s.session))
	return hex.EncodeToString(mac.Sum(nil))
}

func equalText(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func (s *Sandbox) known(r *http.Request) bool {
	c, err := r.Cookie(sessionCookie)
	return err == nil && equalText(c.Value, s.secret("session"))
}

func (s *Sandbox) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if !equalText(strings.TrimSpace(r.PostFormValue("token")), s.opts.ControlToken.Reveal()) {
		s.render(w, http.StatusForbidden, pageData{Message: "That is not the control token."})
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: s.secret("session"), Path: "/sandbox/",
		HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode,
	})
	http.Redirect(w, r, "/sandbox/", http.StatusSeeOther)
}

// press does what a button says, by the very functions of the control API.
func (s *Sandbox) press(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if !s.known(r) || !equalText(r.PostFormValue("form"), s.secret("form")) {
		s.render(w, http.StatusForbidden, pageData{Message: "The form is out of date. Open the page again."})
		return
	}
	req, err := s.formRequest(r.PostForm)
	what := "POST /sandbox/v1/" + r.PostFormValue("do")
	call := s.controlCalls()[what]
	if call == nil {
		call = s.marketCalls()[what]
	}
	switch {
	case err != nil:
	case call == nil:
		err = fmt.Errorf("there is no such button: %w", ErrInvalid)
	default:
		_, err = call(r.Context(), req)
	}
	if err != nil {
		s.render(w, controlStatus(err), s.pageData(err.Error()))
		return
	}
	http.Redirect(w, r, "/sandbox/", http.StatusSeeOther)
}

func (s *Sandbox) showPage(w http.ResponseWriter, r *http.Request) {
	if !s.known(r) {
		s.render(w, http.StatusOK, pageData{})
		return
	}
	s.render(w, http.StatusOK, s.pageData(""))
}

// showMessage is one message with what went over the wire.
func (s *Sandbox) showMessage(w http.ResponseWriter, r *http.Request) {
	if !s.known(r) {
		s.render(w, http.StatusOK, pageData{})
		return
	}
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64) // 0 is the id of none
	d, err := s.Delivery(id)
	if err != nil {
		s.render(w, controlStatus(err), s.pageData(err.Error()))
		return
	}
	s.render(w, http.StatusOK, pageData{Known: true, Form: s.secret("form"), Detail: s.messageData(d)})
}

func (s *Sandbox) render(w http.ResponseWriter, status int, d pageData) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := pageTemplate.Execute(w, d); err != nil {
		s.opts.Log.Debug("page was not written", "error", err)
	}
}
