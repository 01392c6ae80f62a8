package sandbox

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/koogallery"
)

// The error codes of the upload (access guide …649352).
const (
	codeUploadOK       = "CBC.0000"
	codeUploadParam    = "CBC.0101"
	codeNoResource     = "91381033"
	codeApplyInvalid   = "91381034"
	codeNoRemainder    = "91381035"
	codeLicenseFormat  = "91381037"
	codeApplyDenied    = "91381038"
	maxUploadFile      = koogallery.MaxUpload
	maxUploadText      = 1024 // characters of each parameter
	maxUploadParts     = 10
	maxUploadInfo      = 64 << 10
	maxUploadBody      = maxUploadFile + 256<<10
	uploadJSONPart     = "isvUpdateFileReq"
	uploadFilePart     = "file"
	uploadEventMaximum = koogallery.MaxEventID
)

// upload is what a merchant delivers.
type upload struct {
	Type       koogallery.UploadType
	FileName   string
	SHA256     string
	Characters string

	file    []byte
	hasFile bool
}

// parseUpload reads the body of an upload: multipart/form-data as the page
// prints it, or for CHARACTERS plain JSON, since which of the two is meant is
// not known. Its errors are about the form only.
func parseUpload(contentType string, body []byte) (upload, error) {
	media, params, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return upload{}, errors.New("content type cannot be read")
	case media == "application/json":
		return readUploadInfo(upload{}, body)
	case media != "multipart/form-data" || params["boundary"] == "":
		return upload{}, errors.New("content type is neither multipart/form-data nor application/json")
	}
	var u upload
	var info []byte
	reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for n := 0; ; n++ {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || n >= maxUploadParts {
			return upload{}, errors.New("parts cannot be read, or are too many")
		}
		content, err := io.ReadAll(io.LimitReader(part, maxUploadFile+1))
		if err != nil {
			return upload{}, errors.New("a part cannot be read")
		}
		switch part.FormName() {
		case uploadFilePart:
			if u.hasFile || len(content) > maxUploadFile {
				return upload{}, errors.New("file repeated or too long")
			}
			u.file, u.hasFile = content, true
			u.FileName = part.FileName()
		case uploadJSONPart:
			if info != nil || len(content) > maxUploadInfo {
				return upload{}, errors.New("parameters repeated or too long")
			}
			if media, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil || media != "application/json" {
				return upload{}, errors.New("part isvUpdateFileReq is not of type application/json")
			}
			info = append([]byte{}, content...)
		}
	}
	if info == nil {
		return upload{}, errors.New("part isvUpdateFileReq is missing")
	}
	return readUploadInfo(u, info)
}

func readUploadInfo(u upload, info []byte) (upload, error) {
	if !utf8.Valid(info) {
		return upload{}, errors.New("parameters are not in UTF-8")
	}
	m, err := readMembers(info)
	if err != nil {
		return upload{}, fmt.Errorf("parameters are %w", err)
	}
	if wrong := m.misspelt("type", "file_name", "sha256", "characters"); len(wrong) > 0 {
		return upload{}, errors.New("parameters: " + strings.Join(wrong, ", "))
	}
	inHeader, kind := u.FileName, "" // file_name is left out in the printed sample
	u.FileName = ""
	err = cmp.Or(m.text("type", &kind), m.text("file_name", &u.FileName), m.text("sha256", &u.SHA256), m.text("characters", &u.Characters))
	if err != nil {
		return upload{}, fmt.Errorf("parameters: %w", err)
	}
	u.Type = koogallery.UploadType(kind)
	if u.FileName == "" {
		u.FileName = inHeader
	}
	return u, nil
}

// content checks the parameters by the table and returns the licence.
func (u upload) content() ([]byte, bool) {
	for _, text := range []string{u.FileName, u.SHA256, u.Characters} {
		if characters(text) > maxUploadText {
			return nil, false
		}
	}
	switch u.Type {
	case koogallery.UploadCharacters:
		return []byte(u.Characters), u.Characters != ""
	case koogallery.UploadFile:
		sum := sha256.Sum256(u.file)
		same := strings.EqualFold(u.SHA256, hex.EncodeToString(sum[:]))
		return u.file, u.hasFile && u.FileName != "" && same
	}
	return nil, false
}

// serveUpload takes the licence for an application. Uploading the same again is
// a success; another one for the same event is none.
func (s *Sandbox) serveUpload(r *http.Request, body []byte) apiAnswer {
	event := r.PathValue("event")
	invalid := failure(http.StatusBadRequest, codeUploadParam, "Invalid parameter")
	if event == "" || characters(event) > uploadEventMaximum {
		return invalid
	}
	u, err := parseUpload(r.Header.Get("Content-Type"), body)
	if err != nil {
		s.violate("upload: " + err.Error())
		return invalid
	}
	license, ok := u.content()
	if !ok {
		s.violate("upload: a parameter is missing, too long or unknown, or sha256 is not that of the file")
		return invalid
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.applications[event]
	if a == nil {
		return answer(codeApplyInvalid, "license apply invalid")
	}
	if code, msg := s.mayUpload(a, license); code != "" {
		return answer(code, msg)
	}
	if a.State != Fulfilled {
		a.State, a.License, a.Type, a.UploadedAt = Fulfilled, koogallery.NewLicenseText(string(license)), u.Type, s.now()
		if u.Type == koogallery.UploadFile {
			a.FileName = u.FileName
		}
	}
	a.Uploads++
	s.noteSale(a.sale, EventOrder, "the licence for event "+event+" was uploaded as "+string(u.Type))
	return answer(codeUploadOK, "Success")
}

// mayUpload returns the refusal, if there is one.
func (s *Sandbox) mayUpload(a *application, license []byte) (code, msg string) {
	text := koogallery.NewLicenseText(string(license))
	switch {
	case a.State == Denied:
		return codeApplyDenied, "License apply has been denied."
	case a.State == Fulfilled && a.License.Equal(text):
		return "", ""
	case a.State == Fulfilled:
		_ = s.violation(a.sale, "another licence for the same event")
		return codeApplyInvalid, "license apply invalid"
	case a.State == Refused:
		return codeApplyInvalid, "license apply invalid"
	case !a.sale.releasedAt.IsZero():
		return codeNoResource, "License resource invalid"
	case strings.TrimSpace(string(license)) == "":
		return codeLicenseFormat, "Invalid license format."
	case s.devices(a) > a.sale.amount:
		return codeNoRemainder, "license period has no remain amount"
	}
	return "", ""
}

// devices counts the devices which have a licence of the instance, with that of
// a.
func (s *Sandbox) devices(a *application) int64 {
	var seen []string
	for _, other := range a.sale.apps {
		if d := other.Device.Reveal(); (other.State == Fulfilled || other == a) && !slices.Contains(seen, d) {
			seen = append(seen, d)
		}
	}
	return int64(len(seen))
}
