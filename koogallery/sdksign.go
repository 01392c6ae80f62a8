package koogallery

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	sdkAlgorithm  = "SDK-HMAC-SHA256"
	sdkDateHeader = "X-Sdk-Date"
	sdkDateLayout = "20060102T150405Z"
)

// SignRequest signs a call to the open API with SDK-HMAC-SHA256 (signing guide
// devg-apisign): it sets X-Sdk-Date to at and Authorization, and takes a
// superfluous :443 off the host. Signed are the host, Content-Type, and every
// header whose name begins with X-; set them before. body must be the bytes
// that will be sent.
//
// The host is signed, so a request to another domain has to be signed again. An
// error means that the request or the key cannot be signed, and never names
// the key.
func SignRequest(req *http.Request, body []byte, accessKeyID string, key SecretKey, at time.Time) error {
	if accessKeyID == "" || key.IsZero() {
		return errors.New("sign request: no AK/SK")
	}
	date := at.UTC().Format(sdkDateLayout)
	req.Header.Set(sdkDateHeader, date)
	req.Host = signedHost(req)
	headers, names, err := canonicalHeaders(req)
	if err != nil {
		return err
	}
	path, err := canonicalPath(req.URL)
	if err != nil {
		return err
	}
	query, err := canonicalQuery(req.URL.RawQuery)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	canonical := strings.Join([]string{
		req.Method, path, query, headers, names, hex.EncodeToString(sum[:]),
	}, "\n")

	sum = sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte(sdkAlgorithm + "\n" + date + "\n" + hex.EncodeToString(sum[:])))
	req.Header.Set("Authorization", fmt.Sprintf("%s Access=%s, SignedHeaders=%s, Signature=%x",
		sdkAlgorithm, accessKeyID, names, mac.Sum(nil)))
	return nil
}

func signedHost(req *http.Request) string {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	return strings.TrimSuffix(host, ":443")
}

// canonicalHeaders returns the block of "name:value\n" lines, whose own last
// newline makes the empty line in front of the second result, the names.
func canonicalHeaders(req *http.Request) (block, names string, err error) {
	values := map[string]string{"host": req.Host}
	for name, v := range req.Header {
		lower := strings.ToLower(name)
		if lower != "content-type" && !strings.HasPrefix(lower, "x-") {
			continue
		}
		if len(v) != 1 {
			return "", "", fmt.Errorf("sign request: header %s has %d values", name, len(v))
		}
		values[lower] = v[0]
	}
	sorted := make([]string, 0, len(values))
	for name := range values {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	var b strings.Builder
	for _, name := range sorted {
		b.WriteString(name + ":" + strings.TrimSpace(values[name]) + "\n")
	}
	return b.String(), strings.Join(sorted, ";"), nil
}

// canonicalPath ends with a slash, although the request itself does not.
func canonicalPath(u *url.URL) (string, error) {
	segments := strings.Split(u.EscapedPath(), "/")
	for i, s := range segments {
		plain, err := url.PathUnescape(s)
		if err != nil {
			return "", errors.New("sign request: path cannot be decoded")
		}
		segments[i] = percentEncode(plain)
	}
	path := strings.Join(segments, "/")
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	return path, nil
}

func canonicalQuery(raw string) (string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil { // its text would quote the query
		return "", errors.New("sign request: query cannot be decoded")
	}
	type pair struct{ name, value string }
	pairs := make([]pair, 0, len(values))
	for name, vs := range values {
		for _, v := range vs {
			pairs = append(pairs, pair{percentEncode(name), percentEncode(v)})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	parts := make([]string, len(pairs))
	for i, p := range pairs {
		parts[i] = p.name + "=" + p.value
	}
	return strings.Join(parts, "&"), nil
}

// percentEncode keeps A-Z a-z 0-9 - _ . ~ and writes the rest as %XX.
func percentEncode(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
