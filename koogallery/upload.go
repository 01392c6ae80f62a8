package koogallery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Limits of an upload. The pages bound no file; this does.
const (
	MaxCharacters     = 1024    // characters of a licence sent as CHARACTERS
	MaxUpload         = 1 << 20 // bytes of a licence sent as FILE
	MaxFileName       = 1024    // characters
	MaxEventID        = 64      // characters
	DefaultUploadName = "license.lic"
)

// UploadType is how a licence is uploaded.
type UploadType string

// The two ways.
const (
	UploadCharacters UploadType = "CHARACTERS"
	UploadFile       UploadType = "FILE"
)

// Upload is a licence for the device of a GetLicenseAsync.
type Upload struct {
	// License is the licence, text or not; required. It is sent as it is.
	License []byte
	// Type is CHARACTERS or FILE. Empty means CHARACTERS where the licence is
	// text of up to MaxCharacters characters, and FILE otherwise.
	Type UploadType
	// FileName names the file that the device's program gets; empty means
	// DefaultUploadName. Not used for CHARACTERS.
	FileName string
}

// Form is the type that will be used, and ErrInvalidParam if the licence cannot
// be sent: empty, longer than MaxUpload bytes as a FILE, or no UTF-8 text of up
// to MaxCharacters characters as CHARACTERS.
func (u Upload) Form() (UploadType, error) {
	short := len(u.License) <= utf8.UTFMax*MaxCharacters && utf8.Valid(u.License) && utf8.RuneCount(u.License) <= MaxCharacters
	form := u.Type
	if form == "" {
		form = UploadFile
		if short {
			form = UploadCharacters
		}
	}
	switch {
	case len(u.License) == 0:
		return "", fmt.Errorf("licence is empty: %w", ErrInvalidParam)
	case form == UploadCharacters && !short:
		return "", fmt.Errorf("licence is no text of up to %d characters: %w", MaxCharacters, ErrInvalidParam)
	case form == UploadFile && len(u.License) > MaxUpload:
		return "", fmt.Errorf("licence is longer than %d bytes: %w", MaxUpload, ErrInvalidParam)
	case form != UploadCharacters && form != UploadFile:
		return "", fmt.Errorf("upload type is neither CHARACTERS nor FILE: %w", ErrInvalidParam)
	}
	return form, nil
}

type uploadRequest struct {
	Type       UploadType `json:"type"`
	FileName   string     `json:"file_name,omitempty"`
	SHA256     string     `json:"sha256,omitempty"`
	Characters string     `json:"characters,omitempty"`
}

var uploadForm = answerForm{success: []string{"CBC.0000"}}

// Upload delivers the licence for an application (access guide …649351). That
// eventID is the EventID of the GetLicenseAsync is very likely, but not said in
// so many words.
//
// A lost answer cannot be told from a call that never arrived: upload the same
// licence again while Retryable says so. Other refusals are final, see the Err…
// variables. No error holds the licence.
func (c *Client) Upload(ctx context.Context, eventID string, u Upload) error {
	call, err := c.uploadCall(eventID, u)
	if err == nil {
		_, err = c.do(ctx, call)
	}
	if err != nil {
		return fmt.Errorf("upload licence: %w", err)
	}
	return nil
}

func (c *Client) uploadCall(eventID string, u Upload) (*apiCall, error) {
	if err := checkID("event id", eventID, MaxEventID); err != nil {
		return nil, err
	}
	if eventID == "." || eventID == ".." { // these would change the path
		return nil, fmt.Errorf("event id is a path: %w", ErrInvalidParam)
	}
	form, err := u.Form()
	if err != nil {
		return nil, err
	}
	req := uploadRequest{Type: form}
	var file []byte
	if form == UploadCharacters {
		req.Characters = string(u.License)
	} else {
		if req.FileName = u.FileName; req.FileName == "" {
			req.FileName = DefaultUploadName
		}
		if err := checkFileName(req.FileName); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(u.License)
		req.SHA256, file = hex.EncodeToString(sum[:]), u.License
	}
	call := &apiCall{
		method: http.MethodPost, path: "/v1/market-event/" + url.PathEscape(eventID) + "/file",
		form: uploadForm, hide: []string{string(u.License)},
	}
	call.body, call.contentType, err = req.encode(file, form == UploadCharacters && c.opts.PlainCharacters)
	return call, err
}

// checkID refuses what the marketplace cannot have given.
func checkID(what, id string, maxLen int) error {
	if id == "" || !utf8.ValidString(id) || utf8.RuneCountInString(id) > maxLen || hasControls(id) {
		return fmt.Errorf("%s is not 1 to %d printable characters: %w", what, maxLen, ErrInvalidParam)
	}
	return nil
}

// checkFileName refuses what would not survive a header or a file system.
func checkFileName(name string) error {
	if err := checkID("file name", name, MaxFileName); err != nil {
		return err
	}
	if strings.ContainsAny(name, `"\/:*?<>|`) || strings.Trim(name, ". ") == "" {
		return fmt.Errorf("file name is a path or has characters that file systems refuse: %w", ErrInvalidParam)
	}
	return nil
}

func hasControls(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7F })
}

// encode makes the body: the parts file, if there is one, and isvUpdateFileReq,
// in the printed order and with the printed headers.
func (r uploadRequest) encode(file []byte, plain bool) (body []byte, contentType string, err error) {
	var info bytes.Buffer
	enc := json.NewEncoder(&info)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, "", err
	}
	if plain {
		return bytes.TrimSpace(info.Bytes()), jsonMedia, nil
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part := func(header textproto.MIMEHeader, content []byte) {
		if err != nil {
			return
		}
		p, e := w.CreatePart(header)
		if e == nil {
			_, e = p.Write(content)
		}
		err = e
	}
	if file != nil {
		part(textproto.MIMEHeader{
			"Content-Disposition": {`form-data; name="file"; filename="` + r.FileName + `"`},
		}, file)
	}
	part(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="isvUpdateFileReq"`},
		"Content-Type":        {jsonMedia},
	}, bytes.TrimSpace(info.Bytes()))
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), w.FormDataContentType(), err
}
