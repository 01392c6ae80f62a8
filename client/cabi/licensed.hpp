// licensed.hpp - the licence client for C++17: classes over licensed.h.
//
// Guard and License own their handles; they can be moved and not copied. What fails throws licensed::Error. The functions of one
// object may be called from several threads; destroying or moving it while another thread uses it is the caller's to avoid.
#ifndef LICENSED_HPP
#define LICENSED_HPP

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "licensed.h"

namespace licensed {

namespace detail {

struct Free {
	void operator()(void *block) const noexcept { licensed_free(block); }
};
using Text = std::unique_ptr<char, Free>;

} // namespace detail

// Error says what went wrong; what() is its detail, for the person in front of the machine.
class Error : public std::runtime_error {
public:
	Error(licensed_code code, const licensed_error *error)
		: std::runtime_error(error ? error->detail : licensed_code_name(code)), code_(code),
		  reason_(error ? error->reason : licensed_code_name(code)), field_(error ? error->field : ""), log_(error ? error->log : ""),
		  retry_after_(error ? error->retry_after : 0)
	{
	}

	licensed_code code() const noexcept { return code_; }
	const std::string &reason() const noexcept { return reason_; }
	const std::string &field() const noexcept { return field_; }
	const std::string &log() const noexcept { return log_; }
	std::int64_t retry_after() const noexcept { return retry_after_; } // seconds

private:
	licensed_code code_;
	std::string reason_, field_, log_;
	std::int64_t retry_after_;
};

namespace detail {

inline void check(licensed_code code, licensed_error *error = nullptr)
{
	std::unique_ptr<licensed_error, Free> owned(error);
	if (code != LICENSED_OK)
		throw Error(code, error);
}

inline licensed_status fresh()
{
	licensed_status status = {};
	status.size = sizeof status;
	return status;
}

// optional gives NULL for "".
inline const char *optional(const std::string &s) noexcept { return s.empty() ? nullptr : s.c_str(); }

// Handle is closed once.
class Handle {
public:
	Handle() = default;
	explicit Handle(std::uint64_t handle) noexcept : handle_(handle) {}
	Handle(Handle &&other) noexcept : handle_(std::exchange(other.handle_, 0)) {}
	Handle &operator=(Handle &&other) noexcept
	{
		if (this != &other) {
			close();
			handle_ = std::exchange(other.handle_, 0);
		}
		return *this;
	}
	~Handle() { close(); }

	std::uint64_t get() const noexcept { return handle_; }
	void close() noexcept
	{
		if (auto handle = std::exchange(handle_, 0))
			licensed_close(handle);
	}

private:
	std::uint64_t handle_ = 0;
};

} // namespace detail

// check_library throws where the library that was loaded is not one for this header.
inline void check_library()
{
	const std::uint32_t version = licensed_abi_version(), major = LICENSED_ABI_MAJOR, minor = LICENSED_ABI_MINOR;
	if (version >> 16 != major || (version & 0xffff) < minor)
		throw std::runtime_error("the licence library is of another version");
}

// Options are licensed_options; "" and 0 leave a member out.
struct Options {
	std::string anchors, product, issuer, keys, server, state_dir, code, instance, ca_file;
	std::int64_t timeout_ms = 0, build_time = 0;
	std::uint32_t flags = 0;

	// raw is what the library reads: good as long as the options are.
	licensed_options raw() const noexcept
	{
		licensed_options o = {};
		o.size = sizeof o;
		o.anchors = detail::optional(anchors);
		o.product = detail::optional(product);
		o.issuer = detail::optional(issuer);
		o.keys = detail::optional(keys);
		o.server = detail::optional(server);
		o.state_dir = detail::optional(state_dir);
		o.code = detail::optional(code);
		o.instance = detail::optional(instance);
		o.ca_file = detail::optional(ca_file);
		o.timeout_ms = timeout_ms;
		o.build_time = build_time;
		o.flags = flags;
		return o;
	}
};

// Event tells what has changed.
struct Event {
	std::int32_t kind = 0, missed = 0; // kind is a LICENSED_EVENT_...
	licensed_code code = LICENSED_OK;
	std::string reason, text, log;
	licensed_status status = {};
};

// Guard keeps the licence of one install.
class Guard {
public:
	explicit Guard(const Options &options)
	{
		check_library();
		const auto raw = options.raw();
		licensed_guard guard = 0;
		licensed_error *error = nullptr;
		const auto code = licensed_open(&raw, &guard, &error);
		detail::check(code, error);
		handle_ = detail::Handle(guard);
	}

	licensed_guard handle() const noexcept { return handle_.get(); }
	void close() noexcept { handle_.close(); }

	licensed_status status() const
	{
		auto status = detail::fresh();
		detail::check(licensed_check(handle(), &status));
		return status;
	}

	// feature is false where nothing can be asked, too.
	bool feature(const char *name) const noexcept
	{
		std::int32_t on = 0;
		return licensed_feature(handle(), name, &on) == LICENSED_OK && on != 0;
	}
	std::optional<double> number(const char *name) const
	{
		double number = 0;
		const auto code = licensed_feature_number(handle(), name, &number);
		if (code == LICENSED_ERR_NO_VALUE)
			return std::nullopt;
		detail::check(code);
		return number;
	}
	std::optional<std::string> text(const char *name) const
	{
		char *text = nullptr;
		size_t length = 0;
		licensed_error *error = nullptr;
		const auto code = licensed_feature_text(handle(), name, &text, &length, &error);
		if (code == LICENSED_ERR_NO_VALUE) {
			licensed_free(error);
			return std::nullopt;
		}
		return take(code, text, length, error);
	}

	// next_event waits for an event, without end if timeout_ms is negative. There is none where nothing has changed meanwhile. Another thread may
	// close() the guard, which throws an Error with LICENSED_ERR_CLOSED here.
	std::optional<Event> next_event(std::int64_t timeout_ms = -1)
	{
		licensed_event *event = nullptr;
		licensed_error *error = nullptr;
		Event e;
		e.status = detail::fresh();
		const auto code = licensed_next_event(handle(), timeout_ms, &event, &e.status, &error);
		std::unique_ptr<licensed_event, detail::Free> owned(event);
		if (code == LICENSED_ERR_TIMEOUT) {
			licensed_free(error);
			return std::nullopt;
		}
		detail::check(code, error);
		e.kind = event->kind;
		e.missed = event->missed;
		e.code = event->code;
		e.reason = event->reason;
		e.text = event->text;
		e.log = event->log;
		return e;
	}

	std::string status_json() const { return text_of(licensed_status_json); }
	std::string explain() const { return text_of(licensed_explain); }
	std::string file() const
	{
		char *file = nullptr;
		size_t length = 0;
		licensed_error *error = nullptr;
		const auto code = licensed_file(handle(), &file, &length, &error);
		return take(code, file, length, error);
	}

	std::string request(std::int32_t op, const std::string &code = "", const std::string &from = "")
	{
		char *file = nullptr;
		size_t length = 0;
		licensed_error *error = nullptr;
		const auto got = licensed_request(handle(), op, detail::optional(code), detail::optional(from), &file, &length, &error);
		return take(got, file, length, error);
	}
	void import(std::string_view file)
	{
		licensed_error *error = nullptr;
		const auto code = licensed_import(handle(), file.data() ? file.data() : "", file.size(), &error);
		detail::check(code, error);
	}

	void activate(const std::string &code)
	{
		licensed_error *error = nullptr;
		const auto got = licensed_activate(handle(), code.c_str(), &error);
		detail::check(got, error);
	}
	void transfer(const std::string &code, const std::string &from = "")
	{
		licensed_error *error = nullptr;
		const auto got = licensed_transfer(handle(), code.c_str(), detail::optional(from), &error);
		detail::check(got, error);
	}
	void refresh() { call(licensed_refresh); }
	void refresh_status() { call(licensed_refresh_status); }
	void deactivate() { call(licensed_deactivate); }

private:
	static std::string take(licensed_code code, char *text, size_t length, licensed_error *error)
	{
		detail::Text owned(text);
		detail::check(code, error);
		return std::string(text, length);
	}
	template <typename F> std::string text_of(F f) const
	{
		char *text = nullptr;
		licensed_error *error = nullptr;
		const auto code = f(handle(), &text, &error);
		detail::Text owned(text);
		detail::check(code, error);
		return std::string(text);
	}
	template <typename F> void call(F f)
	{
		licensed_error *error = nullptr;
		const auto code = f(handle(), &error);
		detail::check(code, error);
	}

	detail::Handle handle_;
};

// License is a licence file that was verified, without an install.
class License {
public:
	License(const Options &options, std::string_view file)
	{
		check_library();
		const auto raw = options.raw();
		licensed_license license = 0;
		licensed_error *error = nullptr;
		const auto code = licensed_verify(&raw, file.data() ? file.data() : "", file.size(), &license, &error);
		detail::check(code, error);
		handle_ = detail::Handle(license);
	}

	licensed_license handle() const noexcept { return handle_.get(); }
	void close() noexcept { handle_.close(); }

	licensed_status status(std::int64_t now) const
	{
		auto status = detail::fresh();
		detail::check(licensed_license_check(handle(), now, &status));
		return status;
	}
	bool feature(std::int64_t now, const char *name) const noexcept
	{
		std::int32_t on = 0;
		return licensed_license_feature(handle(), now, name, &on) == LICENSED_OK && on != 0;
	}
	std::optional<double> number(std::int64_t now, const char *name) const
	{
		double number = 0;
		const auto code = licensed_license_feature_number(handle(), now, name, &number);
		if (code == LICENSED_ERR_NO_VALUE)
			return std::nullopt;
		detail::check(code);
		return number;
	}
	std::optional<std::string> text(std::int64_t now, const char *name) const
	{
		char *text = nullptr;
		size_t length = 0;
		licensed_error *error = nullptr;
		const auto code = licensed_license_feature_text(handle(), now, name, &text, &length, &error);
		detail::Text owned(text);
		if (code == LICENSED_ERR_NO_VALUE) {
			licensed_free(error);
			return std::nullopt;
		}
		detail::check(code, error);
		return std::string(text, length);
	}
	std::string json(std::int64_t now) const
	{
		char *text = nullptr;
		licensed_error *error = nullptr;
		const auto code = licensed_license_json(handle(), now, &text, &error);
		detail::Text owned(text);
		detail::check(code, error);
		return std::string(text);
	}

	// matches says whether the licence was made for this machine, and explanation, if there is a place for it, why.
	bool matches(std::string *explanation = nullptr) const
	{
		std::int32_t matches = 0;
		char *text = nullptr;
		licensed_error *error = nullptr;
		const auto code = licensed_license_explain(handle(), &matches, explanation ? &text : nullptr, &error);
		detail::Text owned(text);
		detail::check(code, error);
		if (explanation)
			*explanation = text;
		return matches != 0;
	}

private:
	detail::Handle handle_;
};

} // namespace licensed

#endif
