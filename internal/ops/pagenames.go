package ops

// names returns the part of texts for names that other packages give to states, failures, refusals and limits.
func names() map[string][2]string {
	return map[string][2]string{
		"problem answers": {"failed answers", "실패한 응답"}, "problem calls": {"failed calls", "실패한 호출"},
		"problem metrics": {"metrics can't be gathered", "지표를 수집할 수 없음"},
		"problem redis":   {"Redis is down", "Redis 연결 끊김"}, "problem circuit": {"circuit open", "서킷 열림"},
		"problem redis_part":    {"Redis works only in part", "Redis 일부 기능 사용 불가"},
		"problem verdicts":      {"members are let in by verdicts or profiles that have run out", "유효 기간이 지난 검증 결과나 프로필로 허용 중"},
		"problem token":         {"no new access token", "새 액세스 토큰을 받지 못함"},
		"problem refused_token": {"access token refused", "액세스 토큰이 거부됨"},
		"problem log":           {"log lines are dropped", "로그 줄이 버려지고 있음"},
		"problem secrets":       {"changed secrets can't be used", "변경된 시크릿을 사용할 수 없음"},
		"subject members":       {"members", "회원"}, "subject profiles": {"profiles", "프로필"},

		"state empty": {"no token yet", "토큰 없음"}, "state fresh": {"fresh", "유효"}, "state due": {"refreshing", "갱신 중"},
		"state failing": {"failing", "발급 실패"}, "state up": {"up", "연결됨"}, "state down": {"down", "끊김"},
		"state closed": {"closed", "닫힘(정상)"}, "state open": {"open", "열림(차단)"}, "state half-open": {"half-open", "반열림(시험 중)"},
		"role member": {"member", "회원"}, "role owner": {"owner", "소유자"},
		"error transient": {"no usable answer", "쓸 수 있는 응답 없음"}, "error throttled": {"throttled", "요청이 너무 많다는 응답"},
		"error garbage": {"unreadable answer", "읽을 수 없는 응답"}, "error refused": {"license refused", "라이선스 거부됨"},
		"error rejected": {"token rejected", "토큰이 거절됨"},
		"error budget":   {"no Redis, and its own fetches are used up", "Redis 없이 발급받을 수 있는 횟수 소진"},

		"limit login_limit": {"Login and join, per address", "로그인·가입, 주소별"}, "limit account_limit": {"Login, per account", "로그인, 계정별"},
		"limit member_limit": {"Rooms, per member", "회의실, 회원별"}, "limit overload": {"Requests in flight", "처리 중인 요청"},
		"limit body": {"Body, bytes", "본문, 바이트"}, "limit header": {"Header, bytes", "헤더, 바이트"},

		"reason malformed": {"malformed request", "형식이 잘못된 요청"}, "reason body": {"body too large or unreadable", "본문이 너무 크거나 읽을 수 없음"},
		"reason header": {"header too large", "헤더가 너무 큼"}, "reason no_route": {"no such route", "없는 경로"},
		"reason origin":   {"preflight of another origin", "허용되지 않은 출처의 사전 요청"},
		"reason method":   {"method not allowed", "허용되지 않는 메서드"},
		"reason no_token": {"no member token", "회원 토큰 없음"}, "reason bad_token": {"invalid member token", "유효하지 않은 회원 토큰"},
		"reason forbidden": {"no license admits the member", "회원을 허용하는 라이선스 없음"}, "reason denied": {"on the deny list", "차단 목록에 있음"},
		"reason login_limit": {"over the login limit", "로그인 제한 초과"}, "reason account_limit": {"over the account limit", "계정 제한 초과"},
		"reason member_limit": {"over the member limit", "회원 제한 초과"}, "reason overload": {"too many in flight", "동시 요청 초과"},
		"reason circuit": {"circuit open", "서킷 열림"}, "reason no_credential": {"no access token", "액세스 토큰 없음"},
		"reason refused_credential": {"access token or license refused", "액세스 토큰 또는 라이선스 거부됨"},
		"reason upstream":           {"upstream failed", "업스트림 실패"}, "reason timeout": {"upstream too slow", "업스트림 응답 시간 초과"},
		"reason internal": {"internal error", "내부 오류"},

		"lane taken": {"answered by the lane", "패스트 레인에서 응답"}, "lane method": {"not a GET", "GET이 아님"},
		"lane target": {"other form of target or version", "다른 형식의 대상 또는 버전"}, "lane field": {"unusual header", "일반적이지 않은 헤더"},
		"lane body": {"with a body", "본문 있음"}, "lane size": {"long header", "긴 헤더"},
		"lane connection": {"other Connection", "다른 Connection 헤더"}, "lane path": {"not a room", "회의실 경로 아님"},
		"lane authorization": {"no bearer token", "Bearer 토큰 없음"}, "lane credential": {"forged credential", "위조된 자격 증명"},
		"lane repeated": {"repeated header", "반복된 헤더"}, "lane tracing": {"tracing is on", "추적 켜짐"},
	}
}
