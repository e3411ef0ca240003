"""The page in Chinese."""

from __future__ import annotations

CHINESE = {
    "promise": "输入一份 CT 和一段临床文本，得到一个经过校准的概率，并附上其可靠程度的证据。",
    "research_only": "仅供研究使用。不是医疗器械；不得用于诊断或治疗。",
    "banner": "仅供研究使用。不是医疗器械；不得用于诊断或治疗。请勿上传可识别个人身份的数据。",
    "tab_study": "检查",
    "examples": "示例",
    "upload": "或上传 DICOM（zip 或多个文件）、NIfTI、PNG、JPEG",
    "note": "临床文本",
    "model": "模型",
    "run": "运行",
    "pixels": "{shape} 像素",
    "voxels": "{shape} 体素，每个 {spacing} 毫米",
    "oblique": "斜切面，按最接近的轴显示",
    "measured_in": "{plane}，{modality}，单位 {unit}",
    "model_unmeasured": "未在未见过的患者上测量。",
    "model_measured": "在其未见过的 {patients} 名患者的 {n} 份检查上：AUROC {auroc}，宏平均 F1 {f1}。",
    "not_better": "尚未证明优于随机：每个结果都只能当作演示。",
    "calibrated": "校准后的概率",
    "uncalibrated": "未校准的分数，不是概率",
    "from": "来自{inputs}",
    "and": "和",
    "image": "影像",
    "text": "文本",
    "audio": "录音",
    "tabular": "数值",
    "called": "判定",
    "record": (
        "在 {count} 名未见过的、对“{label}”给出约 {predicted} 的患者中，"
        "{hits} 名（{observed}，95 % 区间 {low} 至 {high}）确实如此。"
    ),
    "who_says": "各输入的结论",
    "image_alone": "仅影像",
    "text_alone": "仅文本",
    "audio_alone": "仅录音",
    "tabular_alone": "仅数值",
    "together": "综合",
    "text_read": "实际读取的文本",
    "made_by": "{seconds} 秒。模型 {model}，{digest}。",
    "undefined": "无定义",
}
