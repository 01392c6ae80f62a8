package koogallery

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strconv"
	"time"
)

// SignCallback returns the signature of a callback as the marketplace makes it,
// in lower-case hex (access guide …649248). A verifier needs a Verifier
// instead; this is for stand-ins and for tests of a merchant's own server.
//
// timestamp is Unix time in milliseconds as text. body is signed as it is; for
// the vendor sample's reading pass its CanonicalPayload.
func SignCallback(key AccessKey, nonce, timestamp string, body []byte) string {
	var sum [sha256.Size]byte
	newCallbackMAC(key).sign(&sum, nonce, timestamp, body)
	return hex.EncodeToString(sum[:])
}

// SignedQuery returns the query parameters signature, timestamp and nonce of a
// callback that is sent at the given time.
func SignedQuery(key AccessKey, nonce string, at time.Time, body []byte) url.Values {
	timestamp := strconv.FormatInt(at.UnixMilli(), 10)
	return url.Values{
		"signature": {SignCallback(key, nonce, timestamp, body)},
		"timestamp": {timestamp},
		"nonce":     {nonce},
	}
}
