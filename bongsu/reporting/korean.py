"""The words of the report in Korean, by the English ones that stand in the template."""

KOREAN = {
    # Sections
    "The detector": "탐지기 성능",
    "On the test rows": "시험 자료에서",
    "The model": "모델",
    "Encoder": "언어 모델 사전 학습",
    "What the model saw": "모델이 본 것",
    "Corpus": "말뭉치",
    "Tokenizer": "토크나이저",
    "What was run": "실행한 단계",
    "Do it again": "다시 실행하기",
    "Which class is taken for which": "혼동 행렬",
    "How sure it is, and how rightly": "확률의 신뢰도",
    "Where to set the alarm": "경보 기준",
    "How steady it is": "견고성",
    "Folds": "교차 검증",
    "Left out, and why": "제외한 글",
    "sections": "차례",
    "Show": "펼쳐 보기",
    "Bongsu report": "봉수 보고서",
    # Tables
    "Accuracy": "정확도",
    "Precision": "정밀도",
    "Recall": "재현율",
    "F1": "F1",
    "ROC-AUC": "ROC-AUC",
    "Log loss": "로그 손실",
    "ECE": "ECE",
    "Rows": "행",
    "Class": "분류",
    "Missed": "놓침",
    "False alarms": "오경보",
    "When": "조건",
    "From probability": "기준 확률",
    "Alarms": "경보 비율",
    "Cost of 1,000 rows": "1,000건당 비용",
    "Change": "바꾼 것",
    "Texts changed": "바뀐 글",
    "Verdicts flipped": "뒤집힌 판정",
    "Fold": "묶음",
    "Stage": "단계",
    "Time": "시간",
    "Source": "출처",
    "Documents": "문서",
    "Texts": "글",
    "Size": "크기",
    "Step": "스텝",
    "Validation loss": "검증 손실",
    "Masked-token accuracy": "가린 토큰 정확도",
    "Bits per byte": "바이트당 비트",
    "Parameters": "매개변수",
    "difference": "차이",
    "95 % interval": "95% 신뢰구간",
    "{n} of {all}": "{all}건 가운데 {n}건",
    "{n} rows": "{n}행",
    "{low} to {high}": "{low} ~ {high}",
    "{count} more": "{count}건 더",
    "held out": "따로 둔 자료",
    "masked tokens, held out": "가린 토큰, 따로 둔 자료",
    "Against {baseline}, points": "{baseline} 대비 (%p)",
    "the strongest baseline": "가장 강한 기준 모델",
    # Models
    "this detector": "이 탐지기",
    "majority class": "다수 분류",
    "TF-IDF + logistic regression": "TF-IDF + 로지스틱 회귀",
    "ensemble with TF-IDF": "TF-IDF와의 앙상블",
    "its encoder alone": "인코더만",
    # Groups
    "By writing": "문자별",
    "By {column}": "{column}별",
    "Korean": "한글",
    "Latin letters": "로마자",
    "other writing": "그 밖의 문자",
    "(empty)": "(비어 있음)",
    "other values": "그 밖의 값",
    # Mistakes
    "Missed “{name}”, the surest mistakes first": "놓친 ‘{name}’ (확신이 컸던 순)",
    "False alarms, the surest first": "오경보 (확신이 컸던 순)",
    "Where it was surest and wrong": "가장 확신한 오답",
    "taken for": "→ 모델의 답",
    "The surest mistakes.": "가장 확신한 오답입니다.",
    "Coloured like this": "이 색",
    "a word raised the probability of the class named second,": "단어는 모델이 답한 분류의 확률을 높였고,",
    "like this": "이 색",
    "it lowered it; the stronger, the more.": "단어는 낮췄습니다. 진할수록 영향이 큽니다.",
    # Charts
    "Loss": "손실",
    "Learning rate": "학습률",
    "training": "학습",
    "validation": "검증",
    "step": "스텝",
    "Share of each class": "분류별 비율",
    "predicted": "예측",
    "label": "정답",
    "Reliability": "확률의 신뢰도",
    "confidence": "모델의 확률",
    "calibrated": "이상적인 경우",
    "gap": "차이",
    "model": "모델",
    "Threshold": "기준 확률",
    "threshold on the positive class": "찾는 분류의 기준 확률",
    "precision": "정밀도",
    "recall": "재현율",
    "Probabilities": "확률의 분포",
    "probability of {name}": "‘{name}’일 확률",
    "rows": "행",
    "Accuracy of each model with its 95 % interval": "모델별 정확도와 95% 신뢰구간",
    # Details
    "How it learned": "학습 곡선",
    "Epochs": "에포크",
    "F1 (macro)": "F1 (매크로)",
    "notes": "알림",
    "hidden": "가린 토큰",
    "guess": "추측",
    "guessed right": "맞힌 토큰",
    "wrong guess": "틀린 추측",
    "what stood there": "원래 토큰",
    "a miss costs {value}": "놓칠 때 비용 {value}",
    "precision {value}": "정밀도 {value}",
    "a link added": "링크 추가",
    "links removed": "링크 제거",
    "a mention added": "멘션 추가",
    "lower case": "소문자로",
    "upper case": "대문자로",
    "a typing error": "오타 하나",
    "{n} documents": "문서 {n}개",
    "{n} texts kept": "남긴 글 {n}개",
    "{n} % of the device's rate (MFU)": "장치 최대 속도의 {n}% (MFU)",
    "{n} % of the time waiting for data": "자료를 기다린 시간 {n}%",
    "Training speed (medians): {n} tokens a second": "학습 속도(중앙값): 초당 {n}토큰",
    "Rows of the validation split as they are packed: each colour is a sentence that sees only itself. Framed tokens were "
    "hidden; each number is the probability of the guess:": (
        "검증 자료의 행을 묶은 그대로 보여 줍니다. 색마다 한 문장이며 문장은 서로를 보지 못합니다. "
        "테두리가 있는 토큰이 가린 것이고, 숫자는 추측의 확률입니다:"
    ),
    "vocab size": "어휘 크기",
    "bytes per token": "토큰당 바이트",
    "unseen characters": "학습에 없던 글자",
    "preset": "구조",
    "d model": "은닉 크기",
    "n layers": "층",
    "n heads": "어텐션 헤드",
    "d ff": "피드포워드 크기",
    "activation": "활성화 함수",
    "dropout": "드롭아웃",
    "max length": "최대 길이",
    "parameters": "매개변수",
    "python": "파이썬",
    "machine": "컴퓨터",
    "seed": "시드",
    "too short": "너무 짧음",
    "too long": "너무 김",
    # How it was measured
    "leaving out values of {column} in {splits} folds, no near-duplicate of a measured row trained on": (
        "{column} 값을 {splits}묶음으로 나누어 하나씩 빼고 측정했고, 측정한 글과 거의 같은 글은 학습에 쓰지 않았습니다"
    ),
    "{folds}-fold cross-validation": "{folds}겹 교차 검증",
    "hold-out of {rows} rows": "따로 둔 {rows}행",
    ", stratified": " (층화 추출)",
    "near-duplicates of a text stay in one fold": "거의 같은 글은 한 묶음에 둠",
    "copies of a training text count once, with the label of their majority": "학습 글의 사본은 다수의 레이블로 한 번만 셈",
    "no early stopping": "조기 종료 없음",
    "early stopping looks at a development split of the training rows": "조기 종료는 학습 행에서 뗀 개발 자료로 판단",
    "the temperature of a fold's probabilities is chosen on other rows": "확률의 온도는 다른 행으로 정함",
    "Expected calibration error {before} as trained, {after} with the temperature chosen on other rows": (
        "기대 보정 오차(ECE): 학습한 그대로 {before}, 다른 행으로 정한 온도를 쓰면 {after}"
    ),
    ", {isotonic} with isotonic regression instead": ", 등위 회귀를 쓰면 {isotonic}",
    "One model, trained {count} times in other folds or from other seeds: accuracy {mean} on average, "
    "95 % interval {low} to {high} (Student's t)": (
        "모델 하나를 묶음이나 시드를 바꾸어 {count}번 학습했을 때 정확도: 평균 {mean}, 95% 신뢰구간 {low} ~ {high} (스튜던트 t)"
    ),
    "{points} points against {baseline} ({low} to {high})": "{baseline} 대비 {points}%p ({low} ~ {high})",
    # Sentences
    "Better than {baseline} by {points} points of {metric}, 95 % interval {low} to {high}.": (
        "{baseline}보다 {metric}가 {points}%p 높습니다 (95% 신뢰구간 {low} ~ {high})."
    ),
    "Worse than {baseline} by {points} points of {metric}, 95 % interval {low} to {high}.": (
        "{baseline}보다 {metric}가 {points}%p 낮습니다 (95% 신뢰구간 {low} ~ {high})."
    ),
    "No significant difference to {baseline} on these {rows} rows: {points} points of {metric}, "
    "95 % interval {low} to {high}.": (
        "이 {rows}행에서는 {baseline}와 유의한 차이가 없습니다: {metric} 차이 {points}%p (95% 신뢰구간 {low} ~ {high})."
    ),
    "accuracy": "정확도",
    "Measured on {protocol}": "측정: {protocol}",
    "Measured by {protocol}": "측정 방법: {protocol}",
    "Against {baseline} on the same rows: {difference} points of accuracy, 95 % interval {low} to {high}": (
        "같은 행에서 {baseline}와 비교한 정확도 차이: {difference}%p, 95% 신뢰구간 {low} ~ {high}"
    ),
    "significantly better": "유의하게 높음",
    "significantly worse": "유의하게 낮음",
    "no significant difference": "유의한 차이 없음",
    "The detector alone is right on {ours} rows, the baseline alone on {theirs}.": (
        "탐지기만 맞힌 행은 {ours}개, 기준 모델만 맞힌 행은 {theirs}개입니다."
    ),
    "Precision, recall and F1 are those of “{name}” from probability {threshold} on.": (
        "정밀도, 재현율, F1은 확률 {threshold} 이상을 ‘{name}’(으)로 볼 때의 값입니다."
    ),
    "Precision, recall and F1 are means over the {n} classes.": "정밀도, 재현율, F1은 {n}개 분류의 평균입니다.",
    "Small figures are 95 % intervals (Wilson for accuracy, bootstrap for F1). "
    "Log loss and expected calibration error (ECE): lower is better.": (
        "작은 숫자는 95% 신뢰구간입니다 (정확도는 윌슨, F1은 부트스트랩). 로그 손실과 ECE는 낮을수록 좋습니다."
    ),
    "A false alarm costs 1. evaluate.miss_cost sets what a miss costs, and with it the detector's threshold.": (
        "오경보 하나의 비용은 1입니다. 놓칠 때의 비용은 evaluate.miss_cost로 정하며, 탐지기의 기준값도 함께 바뀝니다."
    ),
    "The whole recipe, every setting written out": "레시피 전체 (모든 설정)",
    "Made by Bongsu. Nothing on this page is loaded from elsewhere.": (
        "봉수가 만든 보고서입니다. 이 문서는 바깥에서 아무것도 불러오지 않습니다."
    ),
    "Demonstration text": "시연용 글",
    "This run uses text that comes with the package or with Python itself (short messages written for the project, and the "
    "standard library's documentation). It shows every stage at work; it is far too little to make a detector to rely on.": (
        "패키지나 파이썬에 들어 있는 글(이 프로젝트를 위해 쓴 짧은 메시지와 표준 라이브러리 문서)만 쓴 실행입니다. "
        "모든 단계의 동작을 보여 주지만, 믿고 쓸 탐지기를 만들기에는 턱없이 적은 양입니다."
    ),
}


def translate(text: str, language: str, **values: object) -> str:
    """Return a phrase of the report in "en" or "ko", with values in the places of their names in braces."""
    phrase = KOREAN.get(text, text) if language == "ko" else text
    return phrase.format(**values) if values else phrase
