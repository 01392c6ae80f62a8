//go:build !windows && !darwin

package sysproxy

// system is nothing: these systems have no setting but the environment.
func system() Settings { return Settings{} }
