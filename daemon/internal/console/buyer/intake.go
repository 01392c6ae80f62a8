package buyer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/qrphoto"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// The names of the fields.
const (
	fieldCode    = "code"
	fieldFile    = "file"
	fieldPhoto   = "photo"
	fieldText    = "text"
	fieldRequest = "request" // that was read before, carried along
	fieldEdit    = "edit"    // show the form again
	fieldLang    = "lang"
)

// Limits of what is sent, in bytes.
const (
	maxText   = wire.MaxBody // of a field, and of a file that is no photo
	maxForm   = 2 * wire.MaxBody
	maxParts  = 16
	maxPhotos = 2
	maxHead   = 64 << 10 // before a part
	// maxBody is how much is read at all. What is beyond the other limits is thrown away
	// as it comes, since a browser shows an answer only when it has sent everything.
	maxBody = 64 << 20
)

// What is read of photos, and for how long. A frame of the camera is one of many.
var (
	photoLimits = qrphoto.Limits{File: 8 << 20, Pixels: 16_000_000}
	frameLimits = qrphoto.Limits{File: 2 << 20, Pixels: 4_000_000}
)

const (
	photoTime = 6 * time.Second
	frameTime = time.Second
	sendTime  = 20 * time.Second // a photo of 8 MiB on a line of 3.4 Mbit/s
)

// entry is what was entered, as it travels from page to page. It is a secret.
type entry struct {
	Code    string // as typed
	Text    string // as pasted, where no request could be made of it
	Request string // the token of the request
	edit    bool
	lang    string
}

func (e entry) hidden() []hidden {
	var out []hidden
	for _, h := range []hidden{{fieldRequest, e.Request}, {fieldCode, e.Code}, {fieldText, e.Text}} {
		if h.Value != "" {
			out = append(out, h)
		}
	}
	return out
}

// wrongError is something wrong with what was sent in, by the name under which the
// texts say so.
type wrongError struct {
	kind string
	err  error
}

func (e *wrongError) Error() string { return e.kind + ": " + e.err.Error() }
func (e *wrongError) Unwrap() error { return e.err }

func wrong(kind string) error {
	return &wrongError{kind, license.FieldErrorf("request", "%s", kind)}
}

// The kinds of what is wrong. Each has its texts.
const (
	wrongNothing   = "nothing"
	wrongEmpty     = "empty"
	wrongAnswer    = "answer"
	wrongCut       = "cut"
	wrongSeveral   = "several"
	wrongDiffer    = "differ"
	wrongUnrelated = "unrelated"
	wrongLarge     = "large"
	wrongChanged   = "changed"
	wrongInside    = "inside" // the code in the request
	wrongForm      = "form"

	wrongPhotoLarge   = "photoLarge"
	wrongPhotoFormat  = "photoFormat"
	wrongPhotoDamaged = "photoDamaged"
	wrongPhotoNoCode  = "photoNoCode"
	wrongPhotoOther   = "photoOther"
	wrongPhotoBusy    = "photoBusy"

	wrongCodeMissing = "codeMissing"
	wrongCodeTyping  = "codeTyping"
	wrongCodeForm    = "codeForm"
	wrongCodeDiffers = "codeDiffers"
)

// wrongs lists them, for the test of the texts.
func wrongs() []string {
	return []string{
		wrongNothing, wrongEmpty, wrongAnswer, wrongCut, wrongSeveral, wrongDiffer, wrongUnrelated, wrongLarge, wrongChanged, wrongInside, wrongForm,
		wrongPhotoLarge, wrongPhotoFormat, wrongPhotoDamaged, wrongPhotoNoCode, wrongPhotoOther, wrongPhotoBusy,
		wrongCodeMissing, wrongCodeTyping, wrongCodeForm, wrongCodeDiffers,
	}
}

// errBusy refuses a photo while another one is read. It counts for nobody.
var errBusy = &wrongError{
	wrongPhotoBusy, license.Errorf(license.RateLimited, "photos of others are being read; try again shortly").WithRetryAfter(5 * time.Second),
}

var errTooMany = license.Errorf(license.RateLimited, "too many requests from this address were refused; please wait")

// small reads a form without files.
func (v *visit) small() (entry, error) {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	if err := v.r.ParseForm(); err != nil {
		return entry{}, wrong(wrongForm)
	}
	e := entryOf(v.r.PostForm)
	v.speak(e.lang)
	return e, nil
}

func entryOf(f url.Values) entry {
	return entry{
		Code: strings.TrimSpace(f.Get(fieldCode)), Text: f.Get(fieldText), Request: f.Get(fieldRequest),
		edit: f.Get(fieldEdit) != "", lang: f.Get(fieldLang),
	}
}

// whole reads the form of the first page, and finds the one request in it. Without
// photos it reads no photo.
func (v *visit) whole(photos bool) (entry, error) {
	kind, params, err := mime.ParseMediaType(v.r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		e, err := v.small()
		if err != nil || e.edit {
			return e, err
		}
		return v.oneRequest(e, nil, nil)
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxBody)
	form := url.Values{}
	var sent []string
	var bad error
	body := &budget{r: v.r.Body}
	parts := multipart.NewReader(body, params["boundary"])
	for n := 0; ; n++ {
		body.left = maxHead // the library would read headers of megabytes
		part, err := parts.NextPart()
		body.left = 2 * maxBody
		if errors.Is(err, io.EOF) {
			break
		}
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return entryOf(form), wrong(wrongLarge)
		}
		if err != nil || n >= maxParts {
			return entryOf(form), wrong(wrongForm)
		}
		text, err := v.part(part, photos)
		if err != nil && bad == nil {
			bad = err
		}
		_, _ = io.Copy(io.Discard, part) // beyond a limit; the next part tells if reading fails
		switch name := part.FormName(); name {
		case fieldFile, fieldPhoto:
			if err == nil && part.FileName() != "" { // a browser sends a field without a file, too
				sent = append(sent, text)
			}
		default:
			form.Set(name, text)
		}
	}
	e := entryOf(form)
	v.speak(e.lang)
	return v.oneRequest(e, sent, bad)
}

// part reads a field or a file: of a photo, the text of its code.
func (v *visit) part(part *multipart.Part, photos bool) (string, error) {
	const enough = 32 // bytes tell what a file is
	head := make([]byte, enough)
	n, err := io.ReadFull(part, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", wrong(wrongForm)
	}
	head = head[:n]
	isFile := part.FileName() != ""
	if isFile && len(head) == 0 {
		return "", wrong(wrongEmpty)
	}
	if !isFile || !qrphoto.Is(head) {
		data, err := readUpTo(part, head, maxText)
		if err != nil {
			return "", err
		}
		return string(data), nil
	}
	if !photos {
		return "", errTooMany
	}
	if !qrphoto.Readable(head) {
		return "", wrong(wrongPhotoFormat)
	}
	if v.photos++; v.photos > maxPhotos {
		return "", wrong(wrongForm)
	}
	release, err := v.hold(v.w, v.r)
	if err != nil {
		return "", err
	}
	defer release()
	data, err := readUpTo(part, head, photoLimits.File)
	if w, ok := errors.AsType[*wrongError](err); ok && w.kind == wrongLarge {
		return "", wrong(wrongPhotoLarge)
	}
	if err != nil {
		return "", err
	}
	text, err := v.photo(v.r.Context(), data, photoLimits, photoTime)
	if err == nil {
		v.o.Limit.Count(v.addr()) // it has cost as much as one that cannot be read
	}
	return text, err
}

// hold takes one of the places for photos that are sent in, of which an address has one,
// and no longer than a photo takes: who sends slowly keeps nobody else from theirs.
func (p *Pages) hold(w http.ResponseWriter, r *http.Request) (release func(), err error) {
	addr := operation.ClientAddr(r.Context())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sending[addr] || len(p.sending) >= maxUploads {
		return nil, errBusy
	}
	p.sending[addr] = true
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(sendTime)) //nolint:forbidigo // a deadline of the network, not of a record
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.sending, addr)
	}, nil
}

// budget is a reader of so many bytes.
type budget struct {
	r    io.Reader
	left int64
}

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("too much")
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// readUpTo reads what follows head, to so many bytes in all.
func readUpTo(r io.Reader, head []byte, limit int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(head), r), int64(limit)+1))
	if err != nil {
		return nil, wrong(wrongForm)
	}
	if len(data) > limit {
		return nil, wrong(wrongLarge)
	}
	return data, nil
}

// photo reads the QR code in a photo, if no other one is read just now.
func (p *Pages) photo(ctx context.Context, data []byte, l qrphoto.Limits, within time.Duration) (string, error) {
	select {
	case p.reading <- struct{}{}:
		defer func() { <-p.reading }()
	default:
		return "", errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	text, err := l.Read(ctx, data)
	switch {
	case err == nil && len(text) > maxText:
		return "", wrong(wrongPhotoOther)
	case err == nil:
		if _, err := token.ParseRequestFile([]byte(text)); err != nil {
			return "", wrong(wrongPhotoOther)
		}
		return text, nil
	case errors.Is(err, qrphoto.ErrTooLarge):
		return "", wrong(wrongPhotoLarge)
	case errors.Is(err, qrphoto.ErrFormat):
		return "", wrong(wrongPhotoFormat)
	case errors.Is(err, qrphoto.ErrDamaged):
		return "", wrong(wrongPhotoDamaged)
	}
	return "", wrong(wrongPhotoNoCode)
}

// oneRequest finds the request in what was sent: files before what was pasted, and
// all of it before what was read earlier. bad is what was wrong with a file.
func (v *visit) oneRequest(e entry, sent []string, bad error) (entry, error) {
	if e.edit || bad != nil {
		return e, bad
	}
	if strings.TrimSpace(e.Text) != "" {
		sent = append(sent, e.Text)
	}
	found := ""
	for _, data := range sent {
		raw, err := token.ParseRequestFile([]byte(data))
		switch {
		case err != nil:
			return e, wrong(notRequest(data))
		case found != "" && found != raw:
			return e, wrong(wrongDiffer)
		}
		found = raw
	}
	if found == "" {
		found = e.Request
	}
	if found == "" {
		return e, wrong(wrongNothing)
	}
	e.Request, e.Text = found, ""
	return e, nil
}

// notRequest says what a text is that no request can be read from.
func notRequest(data string) string {
	const fileMark, textMark = "BEGIN LICENSE REQUEST-", "LR1:"
	switch {
	case strings.TrimSpace(data) == "":
		return wrongEmpty
	case strings.Count(data, fileMark)+strings.Count(data, textMark) > 1:
		return wrongSeveral
	case strings.Contains(data, fileMark) || strings.Contains(data, textMark):
		return wrongCut
	}
	if _, err := token.ParseFile([]byte(data)); err == nil {
		return wrongAnswer
	}
	return wrongUnrelated
}
