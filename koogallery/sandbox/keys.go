package sandbox

import "github.com/seed-357fa782/licensed/koogallery"

// Keys are what a merchant is configured with, and what one sandbox can take over
// from another. Of secrets only Reveal shows the text.
type Keys struct {
	CAPEM           []byte
	CAKeyPEM        Token
	AccessKeyID     string
	SecretAccessKey Token
	AccessKey       Token // that signs callbacks
	ControlToken    Token
}

// Keys are those of this sandbox, at present.
func (s *Sandbox) Keys() Keys {
	return Keys{
		CAPEM: s.CAPEM(), CAKeyPEM: Token{s.CAKeyPEM()}, AccessKeyID: s.AccessKeyID(), SecretAccessKey: Token{s.SecretAccessKey()},
		AccessKey: NewToken(s.AccessKey().Reveal()), ControlToken: s.ControlToken(),
	}
}

// Check fails with ErrInvalid, and says why, where there is an authority that
// no sandbox made.
func (k Keys) Check() error {
	if len(k.CAPEM) == 0 && k.CAKeyPEM.IsZero() {
		return nil
	}
	_, _, err := readAuthority(k.CAPEM, k.CAKeyPEM.SecretKey)
	return err
}

// Options are o with these keys; what is empty here stays.
func (k Keys) Options(o Options) Options {
	if len(k.CAPEM) > 0 || !k.CAKeyPEM.IsZero() {
		o.CAPEM, o.CAKeyPEM = k.CAPEM, k.CAKeyPEM.SecretKey
	}
	if k.AccessKeyID != "" {
		o.AccessKeyID = k.AccessKeyID
	}
	if !k.SecretAccessKey.IsZero() {
		o.SecretAccessKey = k.SecretAccessKey.SecretKey
	}
	if !k.AccessKey.IsZero() {
		o.Callback.AccessKey = koogallery.NewAccessKey(k.AccessKey.Reveal())
	}
	if !k.ControlToken.IsZero() {
		o.ControlToken = k.ControlToken
	}
	return o
}
