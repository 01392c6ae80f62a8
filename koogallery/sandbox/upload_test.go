package sandbox_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

const formType = `multipart/form-data; boundary=X`

// form is a body of parts, each a header line and a content.
func form(parts ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(parts); i += 2 {
		fmt.Fprintf(&b, "--X\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n", parts[i], parts[i+1])
	}
	return b.String() + "--X--\r\n"
}

const (
	fileHead = `name="file"; filename="license.lic"`
	bareHead = `name="isvUpdateFileReq"`
	infoHead = bareHead + "\r\nContent-Type: application/json"
)

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// send posts a signed upload and returns status and error code.
func (m *shop) send(event, contentType, body string) (int, string) {
	m.t.Helper()
	const root = "https://mkt.example.com/api/mkp-openapi-public/global/v1/market-event/"
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, root+event+"/file", strings.NewReader(body))
	must(m.t, err)
	req.Header.Set("Content-Type", contentType)
	o := m.s.ClientOptions()
	must(m.t, koogallery.SignRequest(req, []byte(body), o.AccessKeyID, o.SecretAccessKey, m.s.Now()))
	resp, err := (&http.Client{Transport: m.s.Transport()}).Do(req)
	must(m.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(m.t, err)
	_, code, _ := strings.Cut(string(answer), `"error_code":"`)
	code, _, _ = strings.Cut(code, `"`)
	return resp.StatusCode, code
}

func TestUploadForms(t *testing.T) {
	// The sample as it is printed: no file_name, and characters beside a file.
	printed := form(fileHead, "the licence", infoHead, `{"type":"FILE","sha256":"`+sum("the licence")+`","characters":"x"}`)
	long := strings.Repeat("é", 1024)
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
		code                    string
	}{
		{"printed", formType, printed, 200, "CBC.0000"},
		{"hash in upper case", formType, form(fileHead, "l", infoHead, `{"type":"FILE","sha256":"`+strings.ToUpper(sum("l"))+`"}`), 200, "CBC.0000"},
		{"plain", "application/json", `{"type":"CHARACTERS","characters":"l"}`, 200, "CBC.0000"},
		{"longest text", "application/json", `{"type":"CHARACTERS","characters":"` + long + `"}`, 200, "CBC.0000"},
		{"text too long", "application/json", `{"type":"CHARACTERS","characters":"` + long + `x"}`, 400, "CBC.0101"},
		{"no text", "application/json", `{"type":"CHARACTERS"}`, 400, "CBC.0101"},
		{"wrong hash", formType, form(fileHead, "l", infoHead, `{"type":"FILE","sha256":"`+sum("m")+`"}`), 400, "CBC.0101"},
		{"no hash", formType, form(fileHead, "l", infoHead, `{"type":"FILE"}`), 400, "CBC.0101"},
		{"no file", formType, form(infoHead, `{"type":"FILE","file_name":"a","sha256":"`+sum("")+`"}`), 400, "CBC.0101"},
		{"no name", formType, form(`name="file"`, "l", infoHead, `{"type":"FILE","sha256":"`+sum("l")+`"}`), 400, "CBC.0101"},
		{"name too long", formType, form(fileHead, "l", infoHead, `{"type":"FILE","file_name":"`+long+`x","sha256":"`+sum("l")+`"}`), 400, "CBC.0101"},
		{"no parameters", formType, form(fileHead, "l"), 400, "CBC.0101"},
		{"parameters twice", formType, form(infoHead, `{"type":"CHARACTERS","characters":"l"}`, infoHead, `{}`), 400, "CBC.0101"},
		{"type", "application/json", `{"type":"TEXT","characters":"l"}`, 400, "CBC.0101"},
		{"no JSON", "application/json", `{`, 400, "CBC.0101"},
		{"no boundary", "multipart/form-data", printed, 400, "CBC.0101"},
		{"cut", formType, printed[:len(printed)-30], 400, "CBC.0101"},
		{"other content type", "text/plain", printed, 400, "CBC.0101"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newShop(t, sandbox.Options{})
			o := m.buy("ONLINE", 1, year)
			m.advance(0)
			a := m.apply(o, "d")
			status, code := m.send(a.EventID, tt.contentType, tt.body)
			if status != tt.status || code != tt.code {
				t.Errorf("got %d %s, want %d %s", status, code, tt.status, tt.code)
			}
			delivered := m.application(o, a.EventID).State == sandbox.Fulfilled
			if delivered != (tt.code == "CBC.0000") {
				t.Errorf("delivered is %v", delivered)
			}
		})
	}
	m := newShop(t, sandbox.Options{})
	if status, code := m.send(strings.Repeat("e", 65), "application/json", `{}`); status != 400 || code != "CBC.0101" {
		t.Errorf("long event: %d %s", status, code)
	}
	big := form(fileHead, strings.Repeat("x", koogallery.MaxUpload+1), infoHead, `{"type":"FILE","sha256":"x"}`)
	if status, code := m.send("e", formType, big); status != 400 || code != "CBC.0101" {
		t.Errorf("long file: %d %s", status, code)
	}
}

func FuzzUpload(f *testing.F) {
	f.Add(formType, []byte(form(fileHead, "l", infoHead, `{"type":"FILE","sha256":"`+sum("l")+`"}`)))
	f.Add(formType, []byte(form(infoHead, `{"type":"CHARACTERS","characters":"l"}`)))
	f.Add("application/json", []byte(`{"type":"CHARACTERS","characters":"l"}`))
	f.Add("multipart/form-data; boundary=\"\"", []byte("--\r\n"))
	f.Add(formType, []byte("--X\r\nContent-Disposition: form-data; name=\"file\"; filename*=UTF-8''a%\r\n\r\nx\r\n--X--"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		license, fits, err := sandbox.ParseUpload(contentType, body)
		switch {
		case err != nil && (fits || license != nil):
			t.Error("an error beside a licence")
		case fits && len(license) > koogallery.MaxUpload:
			t.Errorf("%d bytes fit", len(license))
		case fits && !bytes.Contains(body, license) && !bytes.Contains(body, []byte("characters")):
			t.Error("the licence does not stand in the body")
		}
	})
}
