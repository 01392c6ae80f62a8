package sysproxy

import "golang.org/x/sys/windows/registry"

const (
	settingsKey = `Software\Microsoft\Windows\CurrentVersion\Internet Settings`
	policyKey   = `Software\Policies\Microsoft\Windows\CurrentVersion\Internet Settings`
)

// system reads the settings of the user, or those of the machine where a
// policy says that they are the same for everybody.
func system() Settings {
	root := registry.CURRENT_USER
	if policy, err := registry.OpenKey(registry.LOCAL_MACHINE, policyKey, registry.QUERY_VALUE); err == nil {
		if perUser, _, err := policy.GetIntegerValue("ProxySettingsPerUser"); err == nil && perUser == 0 {
			root = registry.LOCAL_MACHINE
		}
		_ = policy.Close() // it was only read
	}
	key, err := registry.OpenKey(root, settingsKey, registry.QUERY_VALUE)
	if err != nil {
		return Settings{}
	}
	defer func() { _ = key.Close() }() // it was only read
	enabled, _, err := key.GetIntegerValue("ProxyEnable")
	if err != nil {
		return Settings{}
	}
	server, _, _ := key.GetStringValue("ProxyServer")     // absent is ""
	override, _, _ := key.GetStringValue("ProxyOverride") // likewise
	return Windows(enabled != 0, server, override)
}
