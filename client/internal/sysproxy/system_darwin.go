package sysproxy

import (
	"io"
	"net"
	"os"

	"github.com/seed-357fa782/licensed/client/internal/plist"
)

const preferences = "/Library/Preferences/SystemConfiguration/preferences.plist"

func system() Settings {
	f, err := os.Open(preferences)
	if err != nil {
		return Settings{}
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, plist.MaxList+1))
	if err != nil {
		return Settings{}
	}
	list, err := plist.Parse(data)
	root, _ := list.(plist.Dict)
	if err != nil {
		return Settings{}
	}
	return MacOS(root, up)
}

// up reports whether a device is connected: it runs, and has an address that
// was given to it.
func up(device string) bool {
	i, err := net.InterfaceByName(device)
	if err != nil || i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 {
		return false
	}
	addresses, err := i.Addrs()
	if err != nil {
		return false
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return true
		}
	}
	return false
}
